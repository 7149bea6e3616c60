"""Attribution of confirmed findings to machine or framework, with recorded changes. Pure.

The canaries decide. Without canaries, the machine is the cause if nearly all cells of a node moved
in the same direction, in at least two frameworks: no framework affects another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from velodrome.scheduler.comparison.causes import LikelyCause, Nodes, find_changes, select_likely
from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.history.cell_series import NodeCell
from velodrome.scheduler.history.latest_run import CellVerdict, Kind, RunVerdict
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.canary_attribution import (
    Attribution,
    ChangeSource,
    attribute_change,
)

COMPARED = 10  # runs before, at most
NEARLY_ALL = 0.8  # of a node's cells
SHOWN = 3

CellRows = Mapping[tuple[str, NodeCell], Sequence[TaskRow]]
"""Rows of `tasks`, by sweep and cell."""


@dataclass(frozen=True)
class Explanation:
    """The attribution of a finding. causes: recorded changes, the likeliest first."""

    attribution: Attribution
    causes: tuple[str, ...] = ()


def group_by_cell(rows: Sequence[TaskRow]) -> CellRows:
    groups: dict[tuple[str, NodeCell], list[TaskRow]] = {}
    for row in rows:
        if row.node_id:
            groups.setdefault((row.sweep_id, NodeCell.of(row)), []).append(row)
    return groups


def list_needed_sweeps(verdict: RunVerdict) -> tuple[str, ...]:
    """List the sweeps whose rows `explain_findings` needs."""
    earlier = (sweep_id for cell in verdict.cells for sweep_id in _earlier_runs(cell))
    return tuple(dict.fromkeys((verdict.sweep_id, *earlier)))


def explain_findings(
    verdict: RunVerdict, rows: CellRows, nodes: Nodes
) -> dict[NodeCell, Explanation]:
    """Explain every cell with a confirmed finding."""
    confirmed = [cell for cell in verdict.cells if cell.is_confirmed]
    moved = [cell for cell in confirmed if _moved_kind(cell)]
    attributions = {cell.cell: _attribute(cell, verdict, rows) for cell in moved}
    attributions |= _attribute_to_nodes(verdict, moved, attributions)
    others = [pair for cell in verdict.cells if cell not in confirmed for pair in _pair(cell, rows)]
    unknown = Attribution(ChangeSource.UNKNOWN, "it has no number")
    explanations = {}
    for cell in confirmed:
        attribution = attributions.get(cell.cell, unknown)
        pairs = [*_pair(cell, rows)]
        causes = select_likely(find_changes(pairs, others, nodes, sources=[attribution.cause]))
        explanations[cell.cell] = Explanation(attribution, tuple(map(_format, causes[:SHOWN])))
    return explanations


def _earlier_runs(cell: CellVerdict) -> tuple[str, ...]:
    """Return the runs that a finding is compared with; the previous one for other cells."""
    points = cell.finding.before[-COMPARED:] if cell.finding else cell.points[-2:-1]
    return tuple(point.sweep_id for point in points)


def _attribute(cell: CellVerdict, verdict: RunVerdict, rows: CellRows) -> Attribution:
    assert cell.finding  # only cells that moved are attributed
    phase = cell.finding.phase
    base = [row for sweep in _earlier_runs(cell) for row in rows.get((sweep, cell.cell), ())]
    latest = rows.get((verdict.sweep_id, cell.cell), ())
    return attribute_change(*([row.canary_run(phase) for row in each] for each in (base, latest)))


def _attribute_to_nodes(
    verdict: RunVerdict,
    moved: Sequence[CellVerdict],
    attributions: Mapping[NodeCell, Attribution],
) -> dict[NodeCell, Attribution]:
    """Attribute unexplained moves to the machine if nearly all cells of a node moved alike."""
    found = {}
    for node in {cell.cell.node_id for cell in moved}:
        total = sum(cell.cell.node_id == node for cell in verdict.cells)
        for kind in (Kind.SLOWER, Kind.FASTER):
            alike = [
                each.cell
                for each in moved
                if each.cell.node_id == node and _moved_kind(each) is kind
            ]
            if len(alike) < NEARLY_ALL * total or len({cell.key.framework for cell in alike}) < 2:
                continue
            reason = f"{len(alike)} of {total} cells of this node became {kind}"
            for cell in alike:
                own = attributions[cell]
                if own.cause is ChangeSource.UNKNOWN:
                    found[cell] = Attribution(ChangeSource.MACHINE, reason, own.number)
    return found


def _moved_kind(cell: CellVerdict) -> Kind | None:
    """Return the direction in which a cell moved; None if it did not move or fails."""
    kind = cell.finding.kind if cell.finding else None
    return None if kind is Kind.FAILS else kind


def _pair(cell: CellVerdict, rows: CellRows) -> tuple[CellPair, ...]:
    """Pair the latest earlier run with rows and the latest run; empty if a side has none."""
    latest = tuple(rows.get((cell.latest.sweep_id, cell.cell), ()))
    for sweep in reversed(_earlier_runs(cell)):
        base = tuple(rows.get((sweep, cell.cell), ()))
        if base and latest:
            return (CellPair(base, latest),)
    return ()


def _format(cause: LikelyCause) -> str:
    return f"{cause.name} {cause.base} -> {cause.candidate}"
