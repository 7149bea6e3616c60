"""Cells that a nightly run should have measured and did not. Pure."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from velodrome.scheduler.history.cell_series import History, NodeCell
from velodrome.scheduler.plans.placement import CONFIRMING
from velodrome.scheduler.reports.task_rows import is_unexpected, select_last_attempts
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow
from velodrome.scheduler.sweeps.sweep import PlacementRule

LONGEST = 200  # characters of a reason
EVERY = (PlacementRule.EACH_NODE, PlacementRule.EACH_GPU)


@dataclass(frozen=True)
class Lacking:
    """A cell that should have numbers: `lacking` of its `runs` have none. status: of the last."""

    cell: NodeCell
    status: str
    reason: str
    lacking: int
    runs: int


@dataclass(frozen=True)
class Vanished:
    """A cell of the previous run that this one lacks. is_promised: the sweep asks for it."""

    cell: NodeCell
    why: str
    is_promised: bool


@dataclass(frozen=True)
class Promise:
    """The cells of the whole plan, without nodes, with the sweep's `where`."""

    asked: Collection[CellKey]
    where: PlacementRule = PlacementRule.ANY
    budget_s: float = math.inf


def lacking(rows: Sequence[TaskRow]) -> tuple[Lacking, ...]:
    """Find cells without numbers among the rows of a run, without confirming repeats."""
    runs: dict[NodeCell, list[TaskRow]] = {}
    for row in planned(rows):
        runs.setdefault(NodeCell.of(row), []).append(row)
    found = []
    for cell, those in sorted(runs.items()):
        without = [row for row in those if not has_time(row) and is_unexpected(row)]
        if without:
            reason = without[-1].reason
            told = f"{reason[:LONGEST]}..." if len(reason) > LONGEST else reason
            status = without[-1].status
            found.append(Lacking(cell, status, told, len(without), len(those)))
    return tuple(found)


def planned(rows: Sequence[TaskRow]) -> list[TaskRow]:
    return [row for row in select_last_attempts(rows) if row.repeat < CONFIRMING]


def has_time(row: TaskRow) -> bool:
    return row.forward_median_ns is not None or row.gradient_median_ns is not None


def vanished(
    history: History, sweep_id: str, rows: Sequence[TaskRow], promise: Promise
) -> tuple[Vanished, ...]:
    """Find cells of the previous run that are missing. `lacking` covers those without a node."""
    before = max(
        (one.sweep_id for points in history.values() for one in points if one.sweep_id < sweep_id),
        default="",
    )
    tonight = {NodeCell.of(row) for row in rows}
    hosts: dict[CellKey, set[str]] = {}
    for cell in tonight:
        hosts.setdefault(cell.key, set()).add(cell.hostname or cell.node_id)
    gone = [
        cell
        for cell, points in history.items()
        if cell not in tonight and any(one.sweep_id == before for one in points)
    ]
    return tuple(_vanished(cell, hosts.get(cell.key, set()), promise) for cell in gone)


def _vanished(cell: NodeCell, hosts: Collection[str], promise: Promise) -> Vanished:
    """Explain a missing cell. hosts: where the run has it; an empty name: no node fits."""
    if cell.key not in promise.asked:
        return Vanished(cell, "the sweep no longer contains it", is_promised=False)
    if not hosts and math.isfinite(promise.budget_s):
        return Vanished(cell, "there was no time for it", is_promised=False)
    named = sorted(filter(None, hosts))
    if named and promise.where not in EVERY:
        return Vanished(cell, f"measured on {', '.join(named)} instead", is_promised=False)
    why = "no node fits it now" if "" in hosts else "its node or GPU is missing"
    return Vanished(cell, why, is_promised=True)
