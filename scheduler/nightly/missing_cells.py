"""Cells that a nightly run should have measured and did not. Pure."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from velodrome.scheduler.history.cell_series import History, NodeCell
from velodrome.scheduler.plans.placement import FIRST_CONFIRMATION
from velodrome.scheduler.reports.task_rows import is_unexpected, select_last_attempts
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow
from velodrome.scheduler.sweeps.sweep import PlacementRule

LONGEST = 200  # characters of a reason
EVERY = (PlacementRule.EACH_NODE, PlacementRule.EACH_GPU, PlacementRule.EACH_PAIR)


@dataclass(frozen=True)
class Unmeasured:
    """A cell that should have numbers: `missing` of its `repeats` have none.

    status, reason: of the last such repeat.
    """

    cell: NodeCell
    status: str
    reason: str
    missing: int
    repeats: int


@dataclass(frozen=True)
class Vanished:
    """A cell of the previous run that this one lacks. is_promised: the sweep asks for it."""

    cell: NodeCell
    reason: str
    is_promised: bool


@dataclass(frozen=True)
class PromisedCells:
    """The cells of the whole plan, without nodes, with the sweep's `where`."""

    cells: Collection[CellKey]
    where: PlacementRule = PlacementRule.ANY
    budget_s: float = math.inf


def find_unmeasured(rows: Sequence[TaskRow]) -> tuple[Unmeasured, ...]:
    """Find cells without numbers among the rows of a run, without confirming repeats."""
    repeats: dict[NodeCell, list[TaskRow]] = {}
    for row in select_planned(rows):
        repeats.setdefault(NodeCell.of(row), []).append(row)
    unmeasured = []
    for cell, own in sorted(repeats.items()):
        missing = [row for row in own if not has_time(row) and is_unexpected(row)]
        if missing:
            last = missing[-1]
            is_long = len(last.reason) > LONGEST
            reason = f"{last.reason[:LONGEST]}..." if is_long else last.reason
            unmeasured.append(Unmeasured(cell, last.status, reason, len(missing), len(own)))
    return tuple(unmeasured)


def select_planned(rows: Sequence[TaskRow]) -> list[TaskRow]:
    return [row for row in select_last_attempts(rows) if row.repeat < FIRST_CONFIRMATION]


def has_time(row: TaskRow) -> bool:
    return bool(row.timed)


def find_vanished(
    history: History, sweep_id: str, rows: Sequence[TaskRow], promised: PromisedCells
) -> tuple[Vanished, ...]:
    """Find cells of the previous run without a row in this one; `find_unmeasured` has the rest."""
    sweeps = {point.sweep_id for points in history.values() for point in points}
    previous = max((each for each in sweeps if each < sweep_id), default="")
    latest = {NodeCell.of(row) for row in rows}
    hosts: dict[CellKey, set[str]] = {}
    for cell in latest:
        hosts.setdefault(cell.key, set()).add(cell.hostname or cell.node_id)
    return tuple(
        _explain(cell, hosts.get(cell.key, set()), promised)
        for cell, points in history.items()
        if cell not in latest and any(point.sweep_id == previous for point in points)
    )


def _explain(cell: NodeCell, hosts: Collection[str], promised: PromisedCells) -> Vanished:
    """Explain a missing cell. hosts: where the run has it; an empty name: no node fits."""
    if cell.key not in promised.cells:
        return Vanished(cell, "the sweep no longer contains it", is_promised=False)
    if not hosts and math.isfinite(promised.budget_s):
        return Vanished(cell, "there was no time for it", is_promised=False)
    named = sorted(filter(None, hosts))
    if named and promised.where not in EVERY:
        return Vanished(cell, f"measured on {', '.join(named)} instead", is_promised=False)
    reason = "no node fits it now" if "" in hosts else "its node or GPU is missing"
    return Vanished(cell, reason, is_promised=True)
