"""Replacement of impossible numbers in rows of `tasks`: reports take logarithms and ratios of them.

Velodrome writes no time of 0, but the rows may come from another source.
"""

import math
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.agents.measurement import Status
from velodrome.scheduler.results.schema import TABLES

MEDIANS = tuple(f"{phase}_median_ns" for phase in TIMED_PHASES)
LEAST_NS, MOST_NS = 1e-3, 1e18  # of a call: a thousandth of a cycle, 30 years
_UNITS = {
    field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in TABLES["tasks"]
}
_REAL = tuple(field.name for field in TABLES["tasks"] if str(field.type) == "double")
_TIMES = frozenset(name for name in _REAL if _UNITS[name] == "ns per call")
_ABOVE_0 = frozenset(
    name
    for name in _REAL
    if _UNITS[name] in ("FLOP per call", "FLOP/s", "J per call", "tokens per call", "per hour")
)


def is_time(ns: float) -> bool:
    """Return True if a call can take this long."""
    return LEAST_NS <= ns < MOST_NS


def drop_impossible_values(table: pa.Table) -> pa.Table:
    """Replace impossible numbers by null; a row with an impossible time loses all times."""
    if all(_are_possible(table, name) for name in _REAL if name in table.column_names):
        return table
    return pa.Table.from_pylist(
        [_replace_impossible(row) for row in table.to_pylist()], table.schema
    )


def _are_possible(table: pa.Table, name: str) -> bool:
    values = table[name].to_numpy()
    values = values[pc.is_valid(table[name]).to_numpy()]
    if name in _TIMES:
        return bool(((values >= LEAST_NS) & (values < MOST_NS)).all())
    least = 0 if name in _ABOVE_0 else -math.inf
    return bool(((values > least) & (values < math.inf)).all())


def _replace_impossible(row: dict[str, object]) -> dict[str, object]:
    impossible = {name: row[name] for name in _REAL if name in row and not _can_be(name, row[name])}
    if not impossible:
        return row
    replaced = {**row, **dict.fromkeys(impossible)}
    for name in MEDIANS:
        if name in impossible:
            return {**replaced, **_without_times(row, f"its row has {name} = {impossible[name]}")}
    return replaced


def _without_times(row: Mapping[str, object], problem: str) -> dict[str, object]:
    changes = {
        "status": Status.CRASHED.value,
        "reason": f"{problem}, which is not a possible time: another program wrote the row",
        "unexpected": True,
        "verified": False,
        **dict.fromkeys(_list_times(row)),
    }
    return {name: value for name, value in changes.items() if name in row}


def _list_times(row: Mapping[str, object]) -> Iterator[str]:
    return (name for name in _TIMES if name in row and not name.startswith("canary"))


def _can_be(name: str, value: object) -> bool:
    if not isinstance(value, float):
        return True  # null, or a column of another table
    if name in _TIMES:
        return is_time(value)
    return math.isfinite(value) and (value > 0 or name not in _ABOVE_0)
