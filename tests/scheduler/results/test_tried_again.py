"""A sweep that is gone on with: what was wanting is planned and tried again, and counted once."""

from dataclasses import replace

import pytest
from made_measurements import make_measurement

from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Core, Gpu, Node
from velodrome.scheduler.fleet.pending_work import list_pending_attempts, record_unplaceable
from velodrome.scheduler.plans.expected_outcomes import load_expectations
from velodrome.scheduler.plans.placement import Placement, Plan, make_plan
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

SWEEP = "20261124-063012-a1b2"
TEXT = """
frameworks: [torch]
models: [lenet]
devices: [gpu]
repeats: 3
"""
EXPECTED = load_expectations({})
SMALL = Node("n1", "small", "CPU", (Core(0, (0,)),), 2**34)
LARGE = Node(
    "n2",
    "large",
    "CPU",
    tuple(Core(number, (number,)) for number in range(4)),
    2**34,
    gpus=(Gpu(0, "NVIDIA L4", "GPU-1", 2**34),),
)
ALIKE = replace(SMALL, gpus=LARGE.gpus)  # as if its driver had been mended
LACKED = (Status.LOST, Status.ENVIRONMENT_FAILED, Status.UNPLACEABLE)


def start(store: Store, *nodes: Node) -> Plan:
    """Start a sweep as `run` does before anything is measured."""
    sweep = parse_sweep(TEXT, "sweep.yaml")
    made = make_plan(expand_cells(sweep), sweep, nodes, {}, store.repeat_numbers(SWEEP))
    store.begin(SWEEP, TEXT, made)
    store.withdraw_unplanned(SWEEP, {task.key for task in made.tasks})
    record_unplaceable(made, store, SWEEP, EXPECTED)
    return made


def ended(placement: Placement, status: Status = Status.OK, attempt: int = 1) -> Measurement:
    return make_measurement(placement.task, repeat=placement.repeat, attempt=attempt, status=status)


def to_do(made: Plan, store: Store) -> list[int]:
    return sorted(attempt.repeat for attempt in list_pending_attempts(made, store, SWEEP))


def outcomes(store: Store) -> list[tuple[object, ...]]:
    rows = store.read("tasks", SWEEP).to_pylist()
    return sorted((row["repeat"], row["attempt"], row["status"], row["threads"]) for row in rows)


@pytest.mark.parametrize("status", Status)
def test_all_or_no_repeats_of_an_outcome_are_tried_again(store: Store, status: Status) -> None:
    for placement in start(store, ALIKE).placements:
        store.put(SWEEP, ended(placement, status))
    assert to_do(start(store, ALIKE), store) == ([0, 1, 2] if status in LACKED else [])


@pytest.mark.full
@pytest.mark.parametrize("later", [ALIKE, LARGE], ids=["mended", "joined"])
def test_an_unplaceable_task_runs_all_its_repeats_once_a_node_joins(
    placed: Store, later: Node
) -> None:
    start(placed, SMALL)
    assert outcomes(placed) == [(0, 1, "unplaceable", 1)]
    made = start(placed, later)
    assert to_do(made, placed) == [0, 1, 2]
    for attempt in list_pending_attempts(made, placed, SWEEP):
        placed.put(SWEEP, ended(made.placements[attempt.order], attempt=attempt.number))
    placed.compact(SWEEP)
    assert to_do(start(placed, later), placed) == []
    ok = [row for row in outcomes(placed) if row[2] == "ok"]
    assert [(repeat, threads) for repeat, _, _, threads in ok] == [
        (repeat, later.physical) for repeat in range(3)
    ]
    summary = placed.summary(SWEEP)
    assert (summary.planned, summary.finished, summary.with_number) == (3, 3, 3)


def test_a_task_changed_by_another_node_leaves_no_old_row(placed: Store) -> None:
    start(placed, SMALL)
    with placed.hold_sweep(SWEEP):
        for placement in start(placed, LARGE).placements:
            placed.put(SWEEP, ended(placement))
        placed.compact(SWEEP)
    assert {row[2:] for row in outcomes(placed)} == {("ok", 4)}


def test_measured_rows_stay_whatever_the_new_plan(placed: Store) -> None:
    for placement in start(placed, ALIKE).placements[:1]:
        placed.put(SWEEP, ended(placement))
    with placed.hold_sweep(SWEEP):
        for placement in start(placed, LARGE).placements:
            placed.put(SWEEP, ended(placement))
        placed.compact(SWEEP)
    assert {row[2:] for row in outcomes(placed)} == {("ok", 1), ("ok", 4)}


def test_a_task_that_stays_unplaceable_has_one_row_per_reason(store: Store) -> None:
    for _ in range(3):
        start(store, SMALL)
    assert outcomes(store) == [(0, 1, "unplaceable", 1)]
    start(store, replace(SMALL, gpus=(Gpu(0, "x", "MIG-1", 1),), system="Plan9"))
    assert [row[:3] for row in outcomes(store)] == [(0, 1, "unplaceable"), (0, 2, "unplaceable")]
