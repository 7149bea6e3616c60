"""Whether two results are of the same model, as far as a hash can tell."""

import hashlib
from functools import cache
from typing import Any

from velodrome.adapters.models.layers import Model


@cache
def model_hash(model: Model) -> str:
    """Of all that decides what is computed; a model's name and description do not."""
    deciding = (_plain(model.input), _plain(model.layers), _plain(model.loss), model.classes)
    return hashlib.sha256(repr(deciding).encode()).hexdigest()[:12]


def _plain(part: Any) -> object:
    """Without fields at their defaults, so that a new field of a kind of layer changes no hash."""
    usual = getattr(part, "_field_defaults", None)
    if usual is None:
        return tuple(map(_plain, part)) if isinstance(part, tuple) else part
    told = zip(part._fields, part, strict=True)
    return type(part).__name__, *(
        (name, _plain(entry)) for name, entry in told if name not in usual or usual[name] != entry
    )
