"""The verdict on each run: a finding is reported once, and quarantine silences failures."""

import math
from dataclasses import replace

import pytest
from made_rows import task_row_with, typed

from velodrome.agents.measurement import Status
from velodrome.agents.task import Task
from velodrome.scheduler.history.cell_series import Condition, build_history, summarize_run
from velodrome.scheduler.history.latest_run import Confirmation, Kind, judge
from velodrome.scheduler.history.quarantine import find_quarantine_start
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.task_row import task_row
from velodrome.scheduler.results.typed_rows import CellKey

CELL = "torch my-lenet"
CALM = 12


def slow_down_since(run: int, factor: float = 1.5):
    return lambda cell, at: factor if cell == CELL and at >= run else 1.0


def find(verdict, cell: str = CELL):
    return next(
        one for one in verdict.cells if f"{one.cell.key.framework} {one.cell.key.model}" == cell
    )


def test_a_step_is_suspicious_in_its_first_run_and_raises_an_alarm_after_a_second_measurement(
    make_fleet,
) -> None:
    fleet = make_fleet(change=slow_down_since(CALM)).measure(*range(CALM + 1))
    before = fleet.judge_run(CALM)
    assert not before.alarms
    assert [one.cell for one in before.unconfirmed] == [find(before).cell]
    after = fleet.judge_and_confirm(CALM)
    found = find(after).finding
    assert (found.kind, found.confirmation, fleet.run_number(found.since)) == (
        Kind.SLOWER,
        Confirmation.CONFIRMED,
        CALM,
    )
    assert found.ratio == pytest.approx(1.5, rel=0.1)
    assert [one.cell for one in after.alarms] == [find(after).cell]


def test_a_step_that_a_second_measurement_contradicts_raises_no_alarm(make_fleet) -> None:
    fleet = make_fleet().measure(*range(CALM))
    fleet.change = slow_down_since(CALM)
    fleet.measure(CALM)
    fleet.change = lambda cell, run: 1.0
    verdict = fleet.judge_and_confirm(CALM)
    assert find(verdict).finding.confirmation is Confirmation.CONTRADICTED
    assert not verdict.alarms
    assert not verdict.unconfirmed


def test_a_step_is_reported_once_and_its_reversal_raises_no_alarm(make_fleet) -> None:
    up_and_down = lambda cell, at: 1.5 if cell == CELL and 12 <= at < 20 else 1.0  # noqa: E731
    fleet = make_fleet(change=up_and_down).measure(*range(CALM))
    findings = {}
    for run in range(CALM, 26):
        verdict = fleet.measure(run).judge_and_confirm(run)
        if found := find(verdict).finding:
            findings[run] = (found.kind, bool(verdict.alarms))
    assert findings == {12: (Kind.SLOWER, True), 20: (Kind.FASTER, False)}


def test_a_time_that_a_check_disproved_is_a_failed_run_without_a_level(make_fleet) -> None:
    disproved = replace(
        make_fleet().measurement(CELL, 0, 0, 83.0, 90.0),
        status=Status.DISAGREED,
        reason="not_seen_before of forward failed: it was kept",
    )
    point = summarize_run(typed([task_row("20261124-063012-a1b2", disproved)]))
    assert (point.condition, point.levels, point.reason) == (Condition.FAILED, {}, disproved.reason)


def test_missing_runs_are_no_step(make_fleet) -> None:
    fleet = make_fleet().measure(0, 1, 5, 6, 7, 8, 20, 21, 22, 60, 61)
    assert not fleet.judge_and_confirm(61).unconfirmed


def test_each_node_has_its_own_history(make_fleet) -> None:
    fleet = make_fleet().measure(*range(CALM))
    fleet.hostname, fleet.change = "host2", lambda cell, run: 2.0
    verdict = fleet.measure(CALM).judge_and_confirm(CALM)
    assert {one.cell.hostname for one in verdict.cells} == {"host2"}
    assert {len(one.points) for one in verdict.cells} == {1}
    assert not verdict.unconfirmed


def test_no_cell_is_suspicious_in_its_first_seven_runs(make_fleet) -> None:
    fleet = make_fleet(change=slow_down_since(5)).measure(*range(7))
    assert not fleet.judge_run(6).unconfirmed


def test_a_failing_cell_raises_an_alarm_in_its_first_run_if_it_fails_again(make_fleet) -> None:
    fleet = make_fleet().measure(*range(CALM))
    fleet.fail(CELL, CALM)
    first = fleet.judge_run(CALM)
    assert find(first).finding.kind is Kind.FAILS
    assert find(first).finding.reason == "died of signal 11"
    assert not first.alarms
    fleet.fail(CELL, CALM, first=1000)
    assert fleet.judge_run(CALM).alarms
    fleet.fail(CELL, CALM + 1)
    assert find(fleet.judge_run(CALM + 1)).finding is None


def test_three_failed_runs_put_a_cell_in_quarantine_where_its_failures_raise_no_alarm(
    make_fleet,
) -> None:
    fleet = make_fleet().measure(*range(CALM))
    for run in range(CALM, CALM + 3):
        fleet.fail(CELL, run)
    fleet.measure(CALM + 3).fail(CELL, CALM + 4)
    verdict = fleet.judge_run(CALM + 4)
    assert fleet.run_number(find(verdict).quarantine.since) == CALM + 2
    assert find(verdict).finding.kind is Kind.FAILS
    assert not verdict.unconfirmed
    assert not verdict.alarms


def test_a_step_distinguishable_from_noise_raises_an_alarm_in_quarantine_too(make_fleet) -> None:
    fleet = make_fleet().measure(*range(CALM))
    for run in range(CALM, CALM + 3):
        fleet.fail(CELL, run)
    fleet.change = slow_down_since(0)
    verdict = fleet.measure(CALM + 3).judge_and_confirm(CALM + 3)
    assert find(verdict).quarantine
    assert [one.cell for one in verdict.alarms] == [find(verdict).cell]


@pytest.mark.parametrize(
    ("letters", "since"),
    [("gggbb", None), ("gbbb", 3), ("bbbgg", 2), ("bbbggg", None), ("bbgbbgbb", None), ("", None)],
)
def test_three_bad_runs_in_a_row_start_a_quarantine_and_three_good_ones_end_it(
    letters: str, since: int | None
) -> None:
    conditions = {"g": Condition.GOOD, "b": Condition.UNSTABLE}
    assert find_quarantine_start(conditions[letter] for letter in letters) == since


def test_a_cell_whose_node_finds_another_batch_size_stays_one_series_per_example() -> None:
    rows = [
        task_row_with(
            sweep_id=f"2026112{day}-010203-00000001",
            batch_size=size,
            batch_size_rule="auto",
            gradient_median_ns=1000.0 * size,
        )
        for day, size in ((3, 512), (4, 448))
    ]
    ((cell, points),) = build_history(rows).items()
    assert cell.label == "torch[eager] lenet bauto cpu 1t on host1 per example"
    assert [math.exp(point.levels["gradient"]) for point in points] == pytest.approx([1000, 1000])
    planned = Task("torch", "eager", "lenet", 0, batch_size_rule="auto")
    assert CellKey.of(planned) == cell.key


def test_runs_from_a_store_are_judged_like_those_that_were_written(
    make_fleet, store: Store
) -> None:
    from velodrome.scheduler.history.history_reading import read_history

    fleet = make_fleet(repeats=1, change=slow_down_since(9, 2.0))
    fleet.cells = {CELL: fleet.cells[CELL]}
    for run in range(10):
        fleet.store_run(store, run, "name: nightly\n")
    fleet.store_run(store, 10, "name: another\n")
    found = read_history(store, "nightly")
    (points,) = found.values()
    assert [fleet.run_number(point) for point in points] == list(range(10))
    verdict = judge(found, points[-1].sweep_id)
    assert find(verdict).finding.kind is Kind.SLOWER
