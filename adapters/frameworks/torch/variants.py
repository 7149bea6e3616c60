"""Variants of the torch adapter, and what each of them requires of torch."""

import torch

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.graph import require_options
from velodrome.adapters.frameworks.torch.version import RELEASE
from velodrome.adapters.tolerances import DTYPES

# How cuDNN chooses a convolution's algorithm, in eager calls: (by trial, deterministic ones alone).
# Every other variant tries: the first call of a shape, before the clock, runs several algorithms.
# docs.pytorch.org, "Reproducibility".
BY_TRIAL = (True, False)
CUDNN_CHOICES = {"cudnn_heuristics": (False, False), "cudnn_deterministic": (False, True)}
VARIANTS = ("eager", "channels_last", "compile", "cudnn_heuristics", "cudnn_deterministic", "fsdp")
_FIRST_WITH = {
    "compile": ((2, 1), "loses the gradients of compiled code"),
    "fsdp": ((2, 6), "has no fully_shard"),
}


def require_variant(variant, dtype):
    """Raise Unsupported unless this torch has the variant, and the adapter the dtype."""
    require_options("torch", (variant, VARIANTS), (dtype, DTYPES))
    needed, lack = _FIRST_WITH.get(variant, ((0, 0), ""))
    if needed > RELEASE:
        text = "torch {} {}; {} needs {}.{} or newer"
        raise Unsupported(text.format(torch.__version__, lack, variant, *needed))


def require_device(variant, device):
    """Raise Unsupported if the variant chooses what only another kind of device has."""
    if variant in CUDNN_CHOICES and device != "gpu":
        raise Unsupported("cuDNN computes on GPUs alone, and the variant chooses its algorithms")


def forbid_fallback():
    """Make torch fail beyond its limit of recompilations, instead of continuing uncompiled."""
    from torch._dynamo import config  # takes a second to import, and only this variant needs it

    for name in ("fail_on_recompile_limit_hit", "fail_on_cache_limit_hit"):  # newer, older torch
        if hasattr(config, name):
            setattr(config, name, True)
