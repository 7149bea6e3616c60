"""A hash of what a model computes: only equal models are comparable."""

import hashlib
from functools import cache
from typing import Any

from velodrome.adapters.models.layers import Model


@cache
def model_hash(model: Model) -> str:
    """Hash all that decides what a model computes, without its name and description."""
    deciding = (
        _drop_defaults(model.input),
        _drop_defaults(model.layers),
        _drop_defaults(model.loss),
        model.classes,
    )
    return hashlib.sha256(repr(deciding).encode()).hexdigest()[:12]


def _drop_defaults(part: Any) -> object:
    """Drop fields at their defaults, so that a new field of a layer changes no hash."""
    usual = getattr(part, "_field_defaults", None)
    if usual is None:
        return tuple(map(_drop_defaults, part)) if isinstance(part, tuple) else part
    fields = zip(part._fields, part, strict=True)
    return type(part).__name__, *(
        (name, _drop_defaults(entry))
        for name, entry in fields
        if name not in usual or usual[name] != entry
    )
