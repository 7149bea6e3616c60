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
    for placements in _group(plan.placements, lambda run: run.node_id):
        spent = _choose(placements, budget_s, estimate, width, chosen)
        seconds = max(seconds, spent)
    selected = tuple(run for run in plan.placements if (run.task.key, run.repeat) in chosen)
    dropped = [run for run in plan.placements if (run.task.key, run.repeat) not in chosen]
    left_out = tuple(
        SkippedRepeats(run[0].task, run[0].node_id, len(run), len(run) * estimate(run[0].task))
        for run in _group(dropped, lambda run: (run.task.key, run.node_id))
    )
    return BudgetedPlan(replace(plan, placements=selected), left_out, seconds)


def _choose(
    placements: Sequence[Placement],
    budget_s: float,
    estimate: Callable[[Task], float],
    width: Width,
    chosen: set[tuple[str, int]],
) -> float:
    """Select one node's runs into `chosen`; return the seconds that they are expected to take."""
    cells = _group(placements, lambda run: (run.task.key, run.spot, run.gpu_uuid))
    widths = [width(cell[0]) for cell in cells]
    typical = median([half_width for half_width in widths if half_width is not None] or [TYPICAL])
    waiting = [
        (-(math.inf if half_width is None else half_width), at, 0)
        for at, half_width in enumerate(widths)
    ]
    heapq.heapify(waiting)
    spent = 0.0
    while waiting:
        _, at, count = heapq.heappop(waiting)
        cost = estimate(cells[at][count].task)
        if spent + cost > budget_s:
            continue
        spent += cost
        chosen.add((cells[at][count].task.key, cells[at][count].repeat))
        if count + 1 < len(cells[at]):
            half_width = widths[at]
            expected = (typical if half_width is None else half_width) / math.sqrt(count + 2)
            heapq.heappush(waiting, (-expected, at, count + 1))
    return spent


def _group(
    placements: Sequence[Placement], by: Callable[[Placement], object]
) -> list[list[Placement]]:
    found: dict[object, list[Placement]] = {}
    for run in placements:
        found.setdefault(by(run), []).append(run)
    return list(found.values())
