"""Replication units of a pair of cells, from rows: sweeps, neighbours and the past.

The past of a cell is its rows in other sweeps on the same nodes: its variance from sweep to sweep,
and signs of bimodality. If a field differs on purpose, each side has its own past.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.agents.measurement import Status
from velodrome.scheduler.comparison.fingerprints import ASKED, FINGERPRINT, reading, told
from velodrome.scheduler.comparison.matching import Pair
from velodrome.scheduler.reports.task_rows import Row, select_last_attempts
from velodrome.scheduler.statistics import replication_units
from velodrome.scheduler.statistics.replication import Repeat
from velodrome.scheduler.statistics.replication_units import Evidence, Past

PHASES = ("forward", "gradient")
SHORTEST_NS, LONGEST_NS = 1e-3, 1e18  # what anything can take: beyond, a file was made up
MOST_SWEEPS = 30  # of the past: older ones tell of another machine room
COLUMNS = (
    *ASKED,
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
class History:
    """Rows of other sweeps by cell and node, then by sweep, oldest first."""

    rows: Mapping[_Key, Mapping[str, Sequence[Row]]]

    def of(self, pair: Pair, phase: str) -> Past:
        keys = sorted({_key(row) for row in (*pair.base, *pair.candidate)})
        nodes = (self._node(key, phase) for key in keys)
        return Past(tuple(sweeps for sweeps in nodes if sweeps))

    def _node(self, key: _Key, phase: str) -> tuple[Sequence[Repeat], ...]:
        sweeps = (repeats(rows, phase) for rows in self.rows.get(key, {}).values())
        return tuple(found for found in sweeps if found)


NO_HISTORY = History({})


def history(rows: Iterable[Row]) -> History:
    """Group rows of sweeps on neither side. Sweep ids begin with their time."""
    found: dict[_Key, dict[str, list[Row]]] = {}
    for row in sorted(_last_attempts_by_sweep(rows), key=lambda row: str(row["sweep_id"])):
        found.setdefault(_key(row), {}).setdefault(str(row["sweep_id"]), []).append(row)
    return History(found)


def _last_attempts_by_sweep(rows: Iterable[Row]) -> list[Row]:
    by_sweep: dict[str, list[Row]] = {}
    for row in rows:
        by_sweep.setdefault(str(row["sweep_id"]), []).append(row)
    return [row for each in by_sweep.values() for row in select_last_attempts(each)]


def evidence_of(pair: Pair, phase: str, past: History = NO_HISTORY) -> Evidence | None:
    """Build the evidence for a phase; None if one side has no time."""
    base, candidate = _by_sweep(pair.base, phase), _by_sweep(pair.candidate, phase)
    if not base or not candidate:
        return None
    if len(base) == 1 and base.keys() == candidate.keys():
        (sweep_id,) = base
        found = replication_units.within_sweep(
            base[sweep_id],
            candidate[sweep_id],
            neighbours(pair, phase),
            past.of(pair, phase),
        )
    else:
        found = replication_units.across_sweeps(base, candidate, past.of(pair, phase))
    return found.of(phase)


def neighbours(pair: Pair, phase: str) -> list[tuple[Repeat, Repeat]]:
    """Pair repeats of the same round on the same node. For rows of one sweep."""
    sides = [_by_round(rows, phase) for rows in (pair.base, pair.candidate)]
    return [(sides[0][key], sides[1][key]) for key in sides[0] if key in sides[1]]


def repeats(rows: Iterable[Row], phase: str) -> list[Repeat]:
    return [found for row in rows if (found := repeat(row, phase)) is not None]


def repeat(row: Row, phase: str) -> Repeat | None:
    """Read a repeat; None if nothing was timed or the value is impossible."""
    if not Status(str(row["status"])).has_number:
        return None
    median = row.get(f"{phase}_median_ns")
    # Samples that bound nothing have no bounds: the median alone counts.
    bounds = [row.get(f"{phase}_{name}_ns") for name in ("low", "high")]
    low, high = (median if bound is None else bound for bound in bounds)
    values = [low, median, high]
    known = [float(value) for value in values if isinstance(value, int | float)]
    if len(known) < len(values) or not SHORTEST_NS < known[0] <= known[1] <= known[2] < LONGEST_NS:
        return None
    return Repeat(median_ns=known[1], low_ns=known[0], high_ns=known[2])


def _by_sweep(rows: Sequence[Row], phase: str) -> dict[str, list[Repeat]]:
    found: dict[str, list[Repeat]] = {}
    for row in rows:
        if (one := repeat(row, phase)) is not None:
            found.setdefault(str(row["sweep_id"]), []).append(one)
    return found


def _by_round(rows: Sequence[Row], phase: str) -> dict[tuple[str, int], Repeat]:
    """Index repeats by round. Repeats are numbered over nodes: rounds count per node."""
    first: dict[str, int] = {}
    for row in rows:
        where, number = _where(row), int(str(row["repeat"]))
        first[where] = min(number, first.get(where, number))
    return {
        (_where(row), int(str(row["repeat"])) - first[_where(row)]): one
        for row in rows
        if (one := repeat(row, phase)) is not None
    }


def _where(row: Row) -> str:
    """Return the node and its GPUs."""
    uuids = row.get("gpu_uuids") if row.get("device") == "gpu" else None
    gpus = [str(uuid) for uuid in uuids] if isinstance(uuids, list) else []
    return " ".join([told(row, "node_id"), *gpus])


def _key(row: Row) -> _Key:
    return (*(reading(row, field) for field in (*ASKED, *FINGERPRINT)), _where(row))
