"""One condition on a field of a task: what the exclusions of a sweep and `--only` are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

FIELDS = (
    "framework",
    "variant",
    "model",
    "batch_size",
    "device",
    "gpu_count",
    "gpu_model",
    "threads",
    "dtype",
    "seed",
)


@dataclass(frozen=True)
class FieldCondition:
    """field is one of these patterns (`*`, `?` and `[...]` as in file names), or none of them.

    place: where it is written, for complaints.
    """

    field: str
    patterns: tuple[str, ...]
    is_negated: bool = False
    place: str = ""


def condition_fields(value: object) -> dict[str, str]:
    """A task's or a cell's FIELDS as text."""
    return {name: str(getattr(value, name)) for name in FIELDS}


def holds(condition: FieldCondition, fields: Mapping[str, str]) -> bool:
    """KeyError if there is no such field."""
    value = fields[condition.field]
    return any(matches(pattern, value) for pattern in condition.patterns) != condition.is_negated


def matches(pattern: str, value: str) -> bool:
    """Whether a value, or the family that it is a part of (`family/part`), fits a pattern."""
    if fnmatchcase(value, pattern):
        return True
    family, slash, _ = value.partition("/")
    return bool(slash) and fnmatchcase(family, pattern)
