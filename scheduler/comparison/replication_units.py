"""Replication units of a pair of cells, from rows: sweeps, pairs of the same round, the past.

The past of a cell is its rows in other sweeps on the same nodes: its variance from sweep to sweep,
and signs of bimodality. If a field differs on purpose, each side has its own past.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.scheduler.comparison.fingerprints import FINGERPRINT, IDENTITY, read_field
from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics import replication_units
from velodrome.scheduler.statistics.replication import Repeat
from velodrome.scheduler.statistics.replication_units import CellPast, Evidence

PHASES = ("forward", "gradient")
SHORTEST_NS, LONGEST_NS = 1e-3, 1e18  # possible times; a file with others is invalid
MOST_SWEEPS = 30  # of the past: older ones may come from other hardware
COLUMNS = (
    *IDENTITY,
    *FINGERPRINT,
    "sweep_id",
    "task_id",
    "repeat",
    "attempt",
    "status",
    "node_id",
    "gpu_uuids",
    *(f"{phase}_{bound}_ns" for phase in PHASES for bound in ("median", "low", "high")),
)

_Key = tuple[str, ...]


@dataclass(frozen=True)
class PastRows:
    """Rows of other sweeps by cell and node, then by sweep, oldest first."""

    rows: Mapping[_Key, Mapping[str, Sequence[TaskRow]]]

    def select_past(self, pair: CellPair, phase: str) -> CellPast:
        keys = sorted({_identify_cell(row) for row in (*pair.base, *pair.candidate)})
        nodes = (self._read_node(key, phase) for key in keys)
        return CellPast(tuple(sweeps for sweeps in nodes if sweeps))

    def _read_node(self, key: _Key, phase: str) -> tuple[Sequence[Repeat], ...]:
        sweeps = (read_repeats(rows, phase) for rows in self.rows.get(key, {}).values())
        return tuple(found for found in sweeps if found)


NO_PAST = PastRows({})


def group_past_rows(rows: Iterable[TaskRow]) -> PastRows:
    """Group rows of sweeps on neither side. Sweep ids begin with their time."""
    found: dict[_Key, dict[str, list[TaskRow]]] = {}
    for row in sorted(_select_last_attempts(rows), key=lambda row: row.sweep_id):
        found.setdefault(_identify_cell(row), {}).setdefault(row.sweep_id, []).append(row)
    return PastRows(found)


def _select_last_attempts(rows: Iterable[TaskRow]) -> list[TaskRow]:
    by_sweep: dict[str, list[TaskRow]] = {}
    for row in rows:
        by_sweep.setdefault(row.sweep_id, []).append(row)
    return [row for each in by_sweep.values() for row in select_last_attempts(each)]


def collect_evidence(pair: CellPair, phase: str, past: PastRows = NO_PAST) -> Evidence | None:
    """Build the evidence for a phase; None if one side has no time."""
    base, candidate = _group_by_sweep(pair.base, phase), _group_by_sweep(pair.candidate, phase)
    if not base or not candidate:
        return None
    if len(base) == 1 and base.keys() == candidate.keys():
        (sweep_id,) = base
        found = replication_units.compare_within_sweep(
            base[sweep_id],
            candidate[sweep_id],
            pair_neighbours(pair, phase),
            past.select_past(pair, phase),
        )
    else:
        found = replication_units.compare_across_sweeps(
            base, candidate, past.select_past(pair, phase)
        )
    return found.with_family(phase)


def pair_neighbours(pair: CellPair, phase: str) -> list[tuple[Repeat, Repeat]]:
    """Pair repeats of the same round on the same node. For rows of one sweep."""
    sides = [_index_by_round(rows, phase) for rows in (pair.base, pair.candidate)]
    return [(sides[0][key], sides[1][key]) for key in sides[0] if key in sides[1]]


def read_repeats(rows: Iterable[TaskRow], phase: str) -> list[Repeat]:
    return [found for row in rows if (found := read_repeat(row, phase)) is not None]


def read_repeat(row: TaskRow, phase: str) -> Repeat | None:
    """Read a repeat; None if nothing was timed or the value is impossible."""
    if not row.has_number:
        return None
    median = row.ns(phase)
    if median is None:
        return None
    # Samples that bound nothing have no bounds: the median alone counts.
    bounds = (row.ns(phase, "low"), row.ns(phase, "high"))
    low, high = (median if bound is None else bound for bound in bounds)
    is_possible = SHORTEST_NS < low <= median <= high < LONGEST_NS
    return Repeat(median_ns=median, low_ns=low, high_ns=high) if is_possible else None


def _group_by_sweep(rows: Sequence[TaskRow], phase: str) -> dict[str, list[Repeat]]:
    found: dict[str, list[Repeat]] = {}
    for row in rows:
        if (repeat := read_repeat(row, phase)) is not None:
            found.setdefault(row.sweep_id, []).append(repeat)
    return found


def _index_by_round(rows: Sequence[TaskRow], phase: str) -> dict[tuple[str, int], Repeat]:
    """Index repeats by round. Repeats are numbered over nodes: rounds count per node."""
    first: dict[str, int] = {}
    for row in rows:
        place, number = _find_place(row), row.repeat
        first[place] = min(number, first.get(place, number))
    return {
        (_find_place(row), row.repeat - first[_find_place(row)]): repeat
        for row in rows
        if (repeat := read_repeat(row, phase)) is not None
    }


def _find_place(row: TaskRow) -> str:
    """Return the node and its GPUs."""
    return " ".join([row.node_id, *row.own_gpus])


def _identify_cell(row: TaskRow) -> _Key:
    return (*(read_field(row, field) for field in (*IDENTITY, *FINGERPRINT)), _find_place(row))
