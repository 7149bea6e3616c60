"""Attribution of confirmed findings to machine or framework, with recorded changes. Pure.

The canaries decide. Without canaries, the machine is the cause if nearly all cells of a node moved
the same way, in at least two frameworks: no framework affects another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from velodrome.scheduler.comparison.causes import LikelyCause, Nodes, find_changes, select_likely
from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.history.cell_series import NodeCell
from velodrome.scheduler.history.latest_run import Kind, Proof, RunVerdict, Watched
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.canary_attribution import (
    Attribution,
    ChangeSource,
    attribute_change,
)

COMPARED = 10  # nights before, at most
NEARLY_ALL = 0.8  # of a node's cells
SHOWN = 3

CellRows = Mapping[tuple[str, NodeCell], Sequence[TaskRow]]
"""Rows of `tasks`, by sweep and cell."""


@dataclass(frozen=True)
class Explanation:
    """An explanation. blame: the attribution. causes: recorded changes, the likeliest first."""

    attribution: Attribution
    causes: tuple[str, ...] = ()


def by_cell(rows: Sequence[TaskRow]) -> CellRows:
    found: dict[tuple[str, NodeCell], list[TaskRow]] = {}
    for row in rows:
        if row.node_id:
            found.setdefault((row.sweep_id, NodeCell.of(row)), []).append(row)
    return found


def sweeps_needed(verdict: RunVerdict) -> tuple[str, ...]:
    """List the sweeps whose rows `explanations` needs."""
    found = {verdict.sweep_id: None}
    for one in verdict.watched:
        for point in _before(one):
            found[point] = None
    return tuple(found)


def explanations(verdict: RunVerdict, rows: CellRows, nodes: Nodes) -> dict[NodeCell, Explanation]:
    """Explain every cell with a confirmed finding."""
    told = [one for one in verdict.watched if is_confirmed(one)]
    moved = [one for one in told if one.finding and one.finding.kind is not Kind.FAILS]
    blames = {one.cell: _blame(one, verdict, rows) for one in moved}
    blames |= _of_nodes(verdict, moved, blames)
    still = [pair for one in verdict.watched if one not in told for pair in _pair(one, rows)]
    found = {}
    for one in told:
        blamed = blames.get(one.cell, Attribution(ChangeSource.UNKNOWN, "it has no number"))
        causes = find_changes([*_pair(one, rows)], still, nodes, blamed=[blamed.cause])
        found[one.cell] = Explanation(
            blamed, tuple(map(_told, list(select_likely(causes))[:SHOWN]))
        )
    return found


def is_confirmed(one: Watched) -> bool:
    return any(found.proof is Proof.CONFIRMED for found in one.told)


def _before(one: Watched) -> tuple[str, ...]:
    """Return the runs that a finding is compared with; the previous one for other cells."""
    if one.finding:
        return tuple(point.sweep_id for point in one.finding.before[-COMPARED:])
    return tuple(point.sweep_id for point in one.points[-2:-1])


def _blame(one: Watched, verdict: RunVerdict, rows: CellRows) -> Attribution:
    assert one.finding  # of those that moved
    phase = one.finding.phase
    base = [row for sweep in _before(one) for row in rows.get((sweep, one.cell), ())]
    tonight = rows.get((verdict.sweep_id, one.cell), ())
    return attribute_change(*([row.canary_run(phase) for row in each] for each in (base, tonight)))


def _of_nodes(
    verdict: RunVerdict, moved: Sequence[Watched], blames: Mapping[NodeCell, Attribution]
) -> dict[NodeCell, Attribution]:
    """Attribute unexplained moves to the machine if nearly all cells of the node moved alike."""
    found = {}
    for kind in (Kind.SLOWER, Kind.FASTER):
        for node in {one.cell.node_id for one in moved}:
            alike = [one for one in moved if one.cell.node_id == node and _kind(one) is kind]
            there = sum(one.cell.node_id == node for one in verdict.watched)
            frameworks = {one.cell.key.framework for one in alike}
            if len(alike) < NEARLY_ALL * there or len(frameworks) < 2:
                continue
            reason = f"{len(alike)} of {there} cells of this node became {kind}"
            for one in alike:
                if blames[one.cell].cause is ChangeSource.UNKNOWN:
                    found[one.cell] = Attribution(
                        ChangeSource.MACHINE, reason, blames[one.cell].number
                    )
    return found


def _kind(one: Watched) -> Kind | None:
    return one.finding.kind if one.finding else None


def _pair(one: Watched, rows: CellRows) -> tuple[CellPair, ...]:
    """Pair the latest earlier run with rows and the latest run; empty if a side has none."""
    for sweep in reversed(_before(one)):
        base = tuple(rows.get((sweep, one.cell), ()))
        tonight = tuple(rows.get((one.tonight.sweep_id, one.cell), ()))
        if base and tonight:
            return (CellPair(base, tonight),)
    return ()


def _told(cause: LikelyCause) -> str:
    return f"{cause.name} {cause.base} -> {cause.candidate}"
