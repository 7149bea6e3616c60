"""Matching of a task's fields against conditions: a sweep's exclusions and `--only`."""

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
    "processes",
    "nodes",
)


@dataclass(frozen=True)
class FieldCondition:
    """A field matches one of these patterns (`*`, `?`, `[...]` as in file names), or none of them.

    place: its position in the source, for errors.
    """

    field: str
    patterns: tuple[str, ...]
    is_negated: bool = False
    place: str = ""


def list_fields(value: object) -> dict[str, str]:
    """Return the FIELDS of a task or cell as texts; `auto` for a batch size that a node finds."""
    fields = {name: str(getattr(value, name)) for name in FIELDS}
    rule = getattr(value, "batch_size_rule", "")  # a task's; a cell has the word itself
    return fields | {"batch_size": rule} if rule else fields


def holds(condition: FieldCondition, fields: Mapping[str, str]) -> bool:
    """Return True if the condition holds for these fields. KeyError if its field is missing."""
    value = fields[condition.field]
    return any(matches(pattern, value) for pattern in condition.patterns) != condition.is_negated


def matches(pattern: str, value: str) -> bool:
    """Return True if a value, or the family it is part of (`family/part`), matches a pattern."""
    if fnmatchcase(value, pattern):
        return True
    family, slash, _ = value.partition("/")
    return bool(slash) and fnmatchcase(family, pattern)
