"""Libraries that PyTorch is built with, from its own configuration."""

import re

_ONEDNN = re.compile(r"MKL-DNN v([\d.]+)")
_CAPABILITY = re.compile(r"CPU capability usage: (\S+)")


def kernels(configuration, version):
    """Read oneDNN and the instruction set of ATen's kernels from torch.__config__.show().

    MKL itself is queried; it does not report its instruction set.
    """
    via = "via torch {}".format(version)
    for name, pattern in (("onednn", _ONEDNN), ("aten", _CAPABILITY)):
        found = pattern.search(configuration)
        if found:
            yield " ".join((name, found.group(1), via))
