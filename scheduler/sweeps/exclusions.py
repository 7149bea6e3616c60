"""Exclusions of a sweep file: reading them, and rejecting those that exclude nothing or all."""

from collections.abc import Sequence

from velodrome.agents.environments.recipes import did_you_mean
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps import value_parsers
from velodrome.scheduler.sweeps.conditions import (
    FIELDS,
    FieldCondition,
    holds,
    list_fields,
    matches,
)
from velodrome.scheduler.sweeps.expansion import CellSpec, count_cells, is_excluded, iterate_cells
from velodrome.scheduler.sweeps.sweep import Exclusion, Sweep, ThreadRule
from velodrome.scheduler.sweeps.yaml_nodes import Items, Scalar, Value

EXAMPLE = "{framework: torch, model: lstm}"
MOST_CELLS = 1_000_000
MOST_RUNS = 10_000_000
MOST_COMPARISONS = 10_000_000  # of cells with exclusions: half a minute


def read_exclusions(value: Value, name: str) -> tuple[Exclusion, ...]:
    """Read a list of mappings from a task's fields to a value or a list of values."""
    if isinstance(value, Items) and not value.items:
        return ()
    return tuple(
        _read_exclusion(item, name)
        for item in value_parsers.read_items(value, name, f"[{EXAMPLE}]")
    )


def check_exclusions(sweep: Sweep) -> None:
    """Raise ConfigError if the sweep is too large, or an exclusion excludes nothing or all."""
    count = count_cells(sweep)
    if count > MOST_CELLS:
        problem = f"this makes {count:,} cells, more than {MOST_CELLS:,}"
        raise ConfigError(f"{sweep.source}:1:1", problem, "Split it into several sweeps.")
    if count * sweep.repeats > MOST_RUNS:
        problem = f"this makes {count * sweep.repeats:,} runs, more than {MOST_RUNS:,}"
        raise ConfigError(f"{sweep.source}:1:1", problem, "Give fewer repeats.")
    if count * len(sweep.exclusions) > MOST_COMPARISONS:
        problem = f"{len(sweep.exclusions):,} exclusions are too many for {count:,} cells"
        raise ConfigError(f"{sweep.source}:1:1", problem, "Use patterns, or split the sweep.")
    if not sweep.exclusions:
        return
    cells = tuple(iterate_cells(sweep))
    for exclusion in sweep.exclusions:
        _check_exclusion(exclusion, cells)
    if all(is_excluded(cell, sweep.exclusions) for cell in cells):
        place = sweep.exclusions[0].place
        problem = f"exclude leaves none of the {len(cells)} cells"
        raise ConfigError(place, problem, "Exclude less.")


def _read_exclusion(value: Value, name: str) -> Exclusion:
    found = value_parsers.read_fields(value, name, EXAMPLE)
    if not found.entries:
        raise ConfigError(found.place, "this excludes everything", f"Name a field: {EXAMPLE}.")
    value_parsers.check_keys(found, FIELDS, "field of a task")
    conditions = tuple(
        FieldCondition(key.text, _read_patterns(value, key.text), place=value.place)
        for key, value in found.entries
    )
    return Exclusion(found.place, conditions)


def _read_patterns(value: Value, name: str) -> tuple[str, ...]:
    if isinstance(value, Scalar):
        return (value_parsers.read_text(value, name),)
    return tuple(
        value_parsers.read_text(item, name)
        for item in value_parsers.read_items(value, name, "[lenet, lstm]")
    )


def _check_exclusion(exclusion: Exclusion, cells: Sequence[CellSpec]) -> None:
    for condition in exclusion.conditions:
        values = {str(getattr(cell, condition.field)) for cell in cells}
        for pattern in condition.patterns:
            if not any(_may_fit(condition.field, pattern, value) for value in values):
                problem = f"no cell of this sweep has the {condition.field} '{pattern}'"
                raise ConfigError(condition.place, problem, did_you_mean(pattern, values))
    if not any(_may_hold(exclusion, cell) for cell in cells):
        mend = "Correct it, or take it out."
        raise ConfigError(exclusion.place, "this excludes no cell of the sweep", mend)


def _may_hold(exclusion: Exclusion, cell: CellSpec) -> bool:
    fields = list_fields(cell)
    return all(
        holds(condition, fields)
        or any(
            _may_fit(condition.field, pattern, fields[condition.field])
            for pattern in condition.patterns
        )
        for condition in exclusion.conditions
    )


def _may_fit(field: str, pattern: str, value: str) -> bool:
    """Return True if a pattern may match, also where the node decides.

    `physical` may be any number.
    """
    is_number = pattern.isascii() and pattern.isdigit()
    is_open = field == "threads" and value in tuple(ThreadRule) and is_number
    return is_open or matches(pattern, value)
