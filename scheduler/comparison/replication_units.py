"""Replication units of a pair of cells, from rows: sweeps, pairs of the same round, the past.

The past of a cell is its rows in other sweeps on the same nodes: its variance from sweep to sweep,
and signs of bimodality. If a field differs on purpose, each side has its own past.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import TIMED_PHASES, TRAINING_PHASES
from velodrome.scheduler.comparison.fingerprints import FINGERPRINT, IDENTITY, read_field
from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics import replication_units
from velodrome.scheduler.statistics.replication import Repeat
from velodrome.scheduler.statistics.replication_units import CellPast, Evidence

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
    "optimizer",
    *(f"{phase}_{bound}_ns" for phase in TIMED_PHASES for bound in ("median", "low", "high")),
)

_Key = tuple[str, ...]


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


Reader = Callable[[TaskRow, str], Repeat | None]
"""Reads a phase of a row, or another quantity above 0; None if the row has none."""


def read_repeats(rows: Iterable[TaskRow], phase: str, read: Reader = read_repeat) -> list[Repeat]:
    return [found for row in rows if (found := read(row, phase)) is not None]


def find_optimizers(rows: Iterable[TaskRow], phase: str) -> frozenset[str]:
    """Return the optimizers that decide the times of a phase; none for a phase without one."""
    if phase not in TRAINING_PHASES:
        return frozenset()
    return frozenset(row.optimizer for row in rows if row.ns(phase) is not None)


def uses_one_of(row: TaskRow, phase: str, optimizers: frozenset[str]) -> bool:
    """Return True if the phase has no optimizer, or the row's is one of these."""
    return phase not in TRAINING_PHASES or row.optimizer in optimizers


@dataclass(frozen=True)
class PastRows:
    """Rows of other sweeps by cell and node, then by sweep, oldest first."""

    rows: Mapping[_Key, Mapping[str, Sequence[TaskRow]]]

    def select_past(self, pair: CellPair, phase: str, read: Reader = read_repeat) -> CellPast:
        keys = sorted({_identify_cell(row) for row in (*pair.base, *pair.candidate)})
        optimizers = find_optimizers((*pair.base, *pair.candidate), phase)
        nodes = (self._read_node(key, phase, read, optimizers) for key in keys)
        return CellPast(tuple(sweeps for sweeps in nodes if sweeps))

    def _read_node(
        self, key: _Key, phase: str, read: Reader, optimizers: frozenset[str]
    ) -> tuple[Sequence[Repeat], ...]:
        sweeps = (
            read_repeats([row for row in rows if uses_one_of(row, phase, optimizers)], phase, read)
            for rows in self.rows.get(key, {}).values()
        )
        return tuple(found for found in sweeps if found)


NO_PAST = PastRows({})


def group_past_rows(rows: Iterable[TaskRow]) -> PastRows:
    """Group rows of sweeps on neither side. Sweep ids begin with their time."""
    found: dict[_Key, dict[str, list[TaskRow]]] = {}
    for row in sorted(select_last_of_sweeps(rows), key=lambda row: row.sweep_id):
        found.setdefault(_identify_cell(row), {}).setdefault(row.sweep_id, []).append(row)
    return PastRows(found)


def select_last_of_sweeps(rows: Iterable[TaskRow]) -> list[TaskRow]:
    """Select the last attempts of each sweep."""
    by_sweep: dict[str, list[TaskRow]] = {}
    for row in rows:
        by_sweep.setdefault(row.sweep_id, []).append(row)
    return [row for each in by_sweep.values() for row in select_last_attempts(each)]


def collect_evidence(
    pair: CellPair,
    phase: str,
    past: PastRows = NO_PAST,
    read: Reader = read_repeat,
    read_past: Reader | None = None,
) -> Evidence | None:
    """Build the evidence for a phase; None if one side has no time, or has another optimizer.

    read_past: of the past, whose ratios alone count; `read` by default.
    """
    if len(find_optimizers((*pair.base, *pair.candidate), phase)) > 1:
        return None
    base, candidate = (_group_by_sweep(rows, phase, read) for rows in (pair.base, pair.candidate))
    if not base or not candidate:
        return None
    own_past = past.select_past(pair, phase, read_past or read)
    if len(base) == 1 and base.keys() == candidate.keys():
        (sweep_id,) = base
        found = replication_units.compare_within_sweep(
            base[sweep_id],
            candidate[sweep_id],
            pair_neighbours(pair, phase, read),
            own_past,
        )
    else:
        found = replication_units.compare_across_sweeps(base, candidate, own_past)
    return found.with_family(phase)


def pair_neighbours(
    pair: CellPair, phase: str, read: Reader = read_repeat
) -> list[tuple[Repeat, Repeat]]:
    """Pair repeats of the same round on the same node. For rows of one sweep."""
    sides = [_index_by_round(rows, phase, read) for rows in (pair.base, pair.candidate)]
    return [(sides[0][key], sides[1][key]) for key in sides[0] if key in sides[1]]


def _group_by_sweep(rows: Sequence[TaskRow], phase: str, read: Reader) -> dict[str, list[Repeat]]:
    found: dict[str, list[Repeat]] = {}
    for row in rows:
        if (repeat := read(row, phase)) is not None:
            found.setdefault(row.sweep_id, []).append(repeat)
    return found


def _index_by_round(
    rows: Sequence[TaskRow], phase: str, read: Reader
) -> dict[tuple[str, int], Repeat]:
    """Index repeats by round. Repeats are numbered over nodes: rounds count per node."""
    first: dict[str, int] = {}
    for row in rows:
        place, number = _find_place(row), row.repeat
        first[place] = min(number, first.get(place, number))
    return {
        (_find_place(row), row.repeat - first[_find_place(row)]): repeat
        for row in rows
        if (repeat := read(row, phase)) is not None
    }


def _find_place(row: TaskRow) -> str:
    """Return the node and its GPUs."""
    return " ".join([row.node_id, *row.own_gpus])


def _identify_cell(row: TaskRow) -> _Key:
    return (*(read_field(row, field) for field in (*IDENTITY, *FINGERPRINT)), _find_place(row))
