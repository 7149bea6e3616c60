"""Budgets: the runs that fit a time, and those that are left out."""

import pytest

from velodrome.agents.task import Task
from velodrome.scheduler.plans.budget import fit_budget
from velodrome.scheduler.plans.placement import Placement, Plan

WIDTHS = {"wide": 0.10, "narrow": 0.01, "new": None}
SECONDS = {"wide": 10.0, "narrow": 10.0, "new": 10.0, "long": 1000.0}


def plan(*names: str, repeats: int = 3, nodes: tuple[str, ...] = ("n1",)) -> Plan:
    return Plan(
        tuple(
            Placement(Task(name, "plain", "lenet", 64), at * repeats + repeat, node, node)
            for repeat in range(repeats)
            for name in names
            for at, node in enumerate(nodes)
        )
    )


def run(made: Plan, budget_s: float):
    return fit_budget(
        made,
        budget_s,
        lambda task: SECONDS[task.framework],
        lambda one: WIDTHS.get(one.task.framework),
    )


def ran(found) -> dict[str, int]:
    names = [one.task.framework for one in found.plan.placements]
    return {name: names.count(name) for name in dict.fromkeys(names)}


@pytest.mark.parametrize(
    ("budget_s", "chosen"),
    [
        (5, {}),
        (10, {"new": 1}),
        (20, {"wide": 1, "new": 1}),
        (60, {"wide": 3, "new": 3}),
        (70, {"wide": 3, "narrow": 1, "new": 3}),
        (90, {"wide": 3, "narrow": 3, "new": 3}),
    ],
)
def test_new_cells_come_first_then_the_widest_interval(budget_s: float, chosen: dict) -> None:
    found = run(plan("narrow", "wide", "new"), budget_s)
    assert ran(found) == chosen
    assert found.seconds == 10 * sum(chosen.values()) <= budget_s


def test_every_planned_run_is_either_kept_or_listed_as_left_out() -> None:
    made = plan("narrow", "wide", "new")
    found = run(made, 40)
    left_out = {one.task.framework: one.repeats for one in found.left_out}
    kept = ran(found)
    for name in ("narrow", "wide", "new"):
        assert kept.get(name, 0) + left_out.get(name, 0) == 3
    assert sum(one.seconds for one in found.left_out) == 50
    assert run(made, 40) == found


@pytest.mark.parametrize("budget_s", [15, 44, 71, 89.9])
def test_no_left_out_run_fits_into_the_remaining_time(budget_s: float) -> None:
    found = run(plan("narrow", "wide", "new"), budget_s)
    assert found.left_out
    cheapest = min(one.seconds / one.repeats for one in found.left_out)
    assert 0 <= budget_s - found.seconds < cheapest


def test_the_order_of_the_plan_is_kept() -> None:
    made = plan("narrow", "wide", "new")
    found = run(made, 60).plan.placements
    assert found == tuple(one for one in made.placements if one in found)


def test_a_run_longer_than_the_budget_displaces_nothing() -> None:
    assert ran(run(plan("long", "narrow"), 20)) == {"narrow": 2}


def test_each_node_has_the_time_for_itself() -> None:
    found = run(plan("wide", repeats=2, nodes=("n1", "n2")), 20)
    assert ran(found) == {"wide": 4}
    assert found.seconds == 20
