"""Selection of tasks and repeats that fit a time budget, least certain cells first. Pure.

Each next repeat goes to the cell whose interval would be widest: the width in its history, over the
square root of the repeats already given. A cell without a history comes first, once. A run that
does not fit into its node's remaining time is skipped for one that does.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from velodrome.agents.task import Task
from velodrome.scheduler.plans.placement import Placement, Plan

TYPICAL = 0.05  # half-width of an interval, relative, where no cell has a history

Width = Callable[[Placement], float | None]
"""Half-width of the interval of a cell's past runs, relative; None without any."""


@dataclass(frozen=True)
class SkippedRepeats:
    """Repeats of a task on a node that do not fit the budget."""

    task: Task
    node_id: str
    repeats: int
    seconds: float


@dataclass(frozen=True)
class BudgetedPlan:
    """The part of a plan that fits a budget. seconds: expected time of the busiest node."""

    plan: Plan
    left_out: tuple[SkippedRepeats, ...]
    seconds: float


def fit_budget(
    plan: Plan, budget_s: float, estimate: Callable[[Task], float], width: Width
) -> BudgetedPlan:
    """Select the runs that fit. Deterministic. Nodes work in parallel, one task at a time."""
    chosen: set[tuple[str, int]] = set()
    seconds = 0.0
    for placements in _grouped(plan.placements, lambda one: one.node_id):
        spent = _choose(placements, budget_s, estimate, width, chosen)
        seconds = max(seconds, spent)
    kept = tuple(one for one in plan.placements if (one.task.key, one.repeat) in chosen)
    dropped = [one for one in plan.placements if (one.task.key, one.repeat) not in chosen]
    left_out = tuple(
        SkippedRepeats(one[0].task, one[0].node_id, len(one), len(one) * estimate(one[0].task))
        for one in _grouped(dropped, lambda one: (one.task.key, one.node_id))
    )
    return BudgetedPlan(replace(plan, placements=kept), left_out, seconds)


def _choose(
    placements: Sequence[Placement],
    budget_s: float,
    estimate: Callable[[Task], float],
    width: Width,
    chosen: set[tuple[str, int]],
) -> float:
    """Select one node's runs into `chosen`; return the seconds that they are expected to take."""
    cells = _grouped(placements, lambda one: (one.task.key, one.spot, one.gpu_uuid))
    widths = [width(cell[0]) for cell in cells]
    typical = median([known for known in widths if known is not None] or [TYPICAL])
    waiting = [(-(math.inf if known is None else known), at, 0) for at, known in enumerate(widths)]
    heapq.heapify(waiting)
    spent = 0.0
    while waiting:
        _, at, given = heapq.heappop(waiting)
        cost = estimate(cells[at][given].task)
        if spent + cost > budget_s:
            continue
        spent += cost
        chosen.add((cells[at][given].task.key, cells[at][given].repeat))
        if given + 1 < len(cells[at]):
            known = widths[at]
            expected = (typical if known is None else known) / math.sqrt(given + 2)
            heapq.heappush(waiting, (-expected, at, given + 1))
    return spent


def _grouped(
    placements: Sequence[Placement], by: Callable[[Placement], object]
) -> list[list[Placement]]:
    found: dict[object, list[Placement]] = {}
    for one in placements:
        found.setdefault(by(one), []).append(one)
    return list(found.values())
