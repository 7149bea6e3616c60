"""Variants of the torch adapter, and what each of them requires of torch."""

import torch

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.graph import require_options
from velodrome.adapters.frameworks.torch.version import RELEASE
from velodrome.adapters.tolerances import DTYPES

VARIANTS = ("eager", "channels_last", "compile", "fsdp")
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


def forbid_fallback():
    """Make torch fail beyond its limit of recompilations, instead of continuing uncompiled."""
    from torch._dynamo import config  # takes a second to import, and only this variant needs it

    for name in ("fail_on_recompile_limit_hit", "fail_on_cache_limit_hit"):  # newer, older torch
        if hasattr(config, name):
            setattr(config, name, True)
