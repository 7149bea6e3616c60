"""How long tasks are expected to take, by how long they took; and how far off that was."""

import random
from datetime import datetime, timedelta

import pytest
from made_rows import task_row_with

from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Task
from velodrome.scheduler.fleet.remaining_time import Eta
from velodrome.scheduler.history.past_durations import pasts
from velodrome.scheduler.plans.durations import estimate_s
from velodrome.scheduler.results.typed_rows import TaskRow

KNOWN = Task("torch", "eager", "lenet", 64)
NEW = Task("torch", "eager", "lstm", 16)
BEGAN = datetime(2026, 1, 1)


def row(task: Task, night: int, seconds: float, **columns: object) -> TaskRow:
    fields = ("framework", "variant", "model", "batch_size", "device", "threads", "dtype")
    return task_row_with(
        **{name: getattr(task, name) for name in fields},
        sweep_id=f"202601{night:02d}-000000-00000000",
        started_at=BEGAN,
        finished_at=BEGAN + timedelta(seconds=seconds),
        **columns,
    )


def test_a_task_is_expected_to_take_what_it_took_in_the_median() -> None:
    rows = [row(KNOWN, night, seconds) for night, seconds in enumerate((10, 12, 90))]
    assert pasts(rows, [KNOWN]).estimate(KNOWN) == 12


def test_what_a_task_waited_for_others_is_no_cost_of_its_own() -> None:
    waited = row(KNOWN, 1, 7200, waited_ns=7190 * 10**9)
    assert pasts([waited], [KNOWN]).estimate(KNOWN) == 10
    in_vain = row(NEW, 1, 7200, waited_ns=7200 * 10**9)
    assert NEW not in pasts([in_vain], [NEW]).seconds
    assert pasts([in_vain], [NEW]).estimate(NEW) == estimate_s(NEW)


def test_what_a_task_waited_for_others_is_not_expected_of_those_that_are_left() -> None:
    clock = iter((0.0, 3610.0))
    known = pasts([row(KNOWN, 1, 10)], [KNOWN]).foresight
    eta = Eta([KNOWN, KNOWN], known, lambda: next(clock))
    eta.started()
    told = Measurement(
        KNOWN, 0, 1, Status.OK, "", "n", "h", "t", 0.0, 3610.0, waited_ns=3600 * 10**9
    )
    eta.finished(KNOWN, told)
    assert eta.text() == "10s"


def test_one_that_never_ran_takes_longer_if_the_others_took_longer_than_their_arithmetic() -> None:
    found = pasts([row(KNOWN, 1, 3 * estimate_s(KNOWN))], [KNOWN, NEW])
    assert found.estimate(NEW) == pytest.approx(3 * estimate_s(NEW))
    assert pasts([], [NEW]).estimate(NEW) == estimate_s(NEW)


def test_the_error_is_that_of_past_nights_as_the_nights_before_told_them() -> None:
    rows = [row(KNOWN, night, seconds) for night, seconds in enumerate((10, 10, 20))]
    assert pasts(rows, [KNOWN]).error == pytest.approx(0.25)  # of 0 and 10 / 20
    assert pasts(rows[:1], [KNOWN]).error is None


def test_nights_that_vary_by_a_fifth_are_told_within_a_quarter() -> None:
    draw = random.Random(0)
    rows = [row(KNOWN, night, draw.gauss(60, 12)) for night in range(20) for _ in range(5)]
    error = pasts(rows, [KNOWN]).error
    assert error is not None
    assert error < 0.25


def test_the_time_left_is_shown_with_that_error() -> None:
    rows = [row(KNOWN, night, seconds) for night, seconds in enumerate((10, 10, 20))]
    eta = Eta([KNOWN, KNOWN], pasts(rows, [KNOWN]).foresight)
    assert eta.text() == ""
    eta.started()
    eta.finished(KNOWN)
    assert eta.text().endswith("± 25 %")
    eta.finished(KNOWN)
    assert eta.text() == ""
    eta.expect([KNOWN])
    assert eta.text()
