"""Estimates of task durations from past runs, and their error."""

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from made_rows import task_row_with

from velodrome.adapters.tolerances import DTYPES
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Task
from velodrome.scheduler.fleet.remaining_time import Eta
from velodrome.scheduler.history.past_durations import learn_durations
from velodrome.scheduler.plans.durations import estimate_s
from velodrome.scheduler.results.typed_rows import TaskRow

KNOWN = Task("torch", "eager", "lenet", 64)
NEW = Task("torch", "eager", "lstm", 16)
STARTED_AT = datetime(2026, 1, 1)


def row(task: Task, run: int, seconds: float, **columns: object) -> TaskRow:
    fields = ("framework", "variant", "model", "batch_size", "device", "threads", "dtype")
    return task_row_with(
        **{name: getattr(task, name) for name in fields},
        sweep_id=f"202601{run:02d}-000000-00000000",
        started_at=STARTED_AT,
        finished_at=STARTED_AT + timedelta(seconds=seconds),
        **columns,
    )


def test_the_estimate_of_a_task_is_its_median_duration() -> None:
    rows = [row(KNOWN, run, seconds) for run, seconds in enumerate((10, 12, 90))]
    assert learn_durations(rows, [KNOWN]).estimate(KNOWN) == 12


def test_each_precision_has_a_duration_of_its_own() -> None:
    half = replace(KNOWN, dtype="bfloat16")
    found = learn_durations([row(KNOWN, 1, 10), row(half, 1, 4)], [KNOWN, half])
    assert (found.estimate(KNOWN), found.estimate(half)) == (10, 4)


def test_a_gpu_is_expected_to_be_faster_in_a_lower_precision() -> None:
    large = Task("torch", "eager", "gemm", 4096, "gpu", 1)
    estimates = [estimate_s(replace(large, batch_size=2**22, dtype=name)) for name in DTYPES[:3]]
    assert estimates == sorted(estimates, reverse=True)
    assert len({*estimates}) == 3


def test_a_duration_does_not_include_the_time_that_a_task_waited_for_others() -> None:
    waited = row(KNOWN, 1, 7200, waited_ns=7190 * 10**9)
    assert learn_durations([waited], [KNOWN]).estimate(KNOWN) == 10
    never_started = row(NEW, 1, 7200, waited_ns=7200 * 10**9)
    assert NEW not in learn_durations([never_started], [NEW]).seconds
    assert learn_durations([never_started], [NEW]).estimate(NEW) == estimate_s(NEW)


def test_the_remaining_time_does_not_include_waiting_for_others() -> None:
    clock = iter((0.0, 3610.0))
    known = learn_durations([row(KNOWN, 1, 10)], [KNOWN]).estimates
    eta = Eta([KNOWN, KNOWN], known, lambda: next(clock))
    eta.start()
    measurement = Measurement(
        KNOWN, 0, 1, Status.OK, "", "n", "h", "t", 0.0, 3610.0, waited_ns=3600 * 10**9
    )
    eta.finish(KNOWN, measurement)
    assert eta.format_left() == "10s"


def test_a_new_task_is_scaled_by_the_ratio_of_the_others_to_their_arithmetic_estimate() -> None:
    found = learn_durations([row(KNOWN, 1, 3 * estimate_s(KNOWN))], [KNOWN, NEW])
    assert found.estimate(NEW) == pytest.approx(3 * estimate_s(NEW))
    assert learn_durations([], [NEW]).estimate(NEW) == estimate_s(NEW)


def test_the_error_is_that_of_past_runs_predicted_from_the_runs_before() -> None:
    rows = [row(KNOWN, run, seconds) for run, seconds in enumerate((10, 10, 20))]
    assert learn_durations(rows, [KNOWN]).error == pytest.approx(0.25)  # of 0 and 10 / 20
    assert learn_durations(rows[:1], [KNOWN]).error is None


def test_runs_that_vary_by_a_fifth_are_predicted_within_a_quarter() -> None:
    draw = random.Random(0)
    rows = [row(KNOWN, run, draw.gauss(60, 12)) for run in range(20) for _ in range(5)]
    error = learn_durations(rows, [KNOWN]).error
    assert error is not None
    assert error < 0.25


def test_the_remaining_time_is_shown_with_this_error() -> None:
    rows = [row(KNOWN, run, seconds) for run, seconds in enumerate((10, 10, 20))]
    eta = Eta([KNOWN, KNOWN], learn_durations(rows, [KNOWN]).estimates)
    assert eta.format_left() == ""
    eta.start()
    eta.finish(KNOWN)
    assert eta.format_left().endswith("± 25 %")
    eta.finish(KNOWN)
    assert eta.format_left() == ""
    eta.expect([KNOWN])
    assert eta.format_left()
