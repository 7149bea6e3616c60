"""Rows of tasks with the phases inference, update and step."""

from dataclasses import replace

import pytest
from made_measurements import VERIFIED, make_measurement
from made_rows import task_row_with, typed

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.products import count_forward_flops, count_gradient_flops
from velodrome.adapters.protocol import TIMED_PHASES, Timed
from velodrome.agents.measurement import Measurement, Sample, Status
from velodrome.scheduler.results.rate_columns import add_rates
from velodrome.scheduler.results.rows import to_table
from velodrome.scheduler.results.task_row import task_row

SAMPLES = tuple(Sample("inference", at, 1, 10**6 * at, 1000 + at) for at in range(400))


def timed(phase: str, ns: float, **changes: object) -> Timed:
    plain = Timed(phase, ns, 0.9 * ns, 1.1 * ns, 400, 1, 5, f"stopped {phase}", stable=True)
    return plain._replace(**changes)


def measured(*phases: str, **changes: object) -> Measurement:
    """Make a measurement of some phases: 1 ms of the first of all phases, 2 ms of the next ..."""
    times = {
        phase: timed(phase, 1e6 * number)
        for number, phase in enumerate(TIMED_PHASES, 1)
        if phase in phases
    }
    return make_measurement(phases=phases, verified=VERIFIED, **times, **changes)


def test_every_phase_has_its_columns() -> None:
    row = task_row("s", measured(*TIMED_PHASES, optimizer="adamw"))
    for number, phase in enumerate(TIMED_PHASES, 1):
        ns = 1e6 * number
        bounds = tuple(row[f"{phase}_{name}_ns"] for name in ("median", "low", "high"))
        assert bounds == (ns, 0.9 * ns, 1.1 * ns)
        assert (row[f"{phase}_samples"], row[f"{phase}_drift"]) == (400, 0.0)
    assert (row["phases"], row["optimizer"]) == (list(TIMED_PHASES), "adamw")
    assert (row["step_stop_reason"], row["step_stable"]) == ("stopped step", True)


def test_a_phase_that_was_not_asked_for_has_no_values() -> None:
    row = task_row("s", measured("forward", "gradient"))
    assert row["optimizer"] is None
    unasked = [name for name in row if name.startswith(("inference_", "update_", "step_"))]
    assert {row[name] for name in unasked if not name.endswith("_flops")} == {None}


@pytest.mark.parametrize(
    ("phases", "decisive"),
    [
        (TIMED_PHASES, "gradient"),
        (("forward", "inference", "step"), "step"),
        (("inference",), "inference"),
    ],
)
def test_the_decisive_phase_gives_stability_and_stop_reason(phases, decisive) -> None:
    one = measured(*phases)
    unstable = getattr(one, decisive)._replace(stable=False)
    row = task_row("s", replace(one, **{decisive: unstable}))
    assert (row["stop_reason"], row["stable"]) == (f"stopped {decisive}", False)
    assert typed([row])[0].decisive == decisive


def test_percentiles_of_inference_are_of_single_calls() -> None:
    row = task_row("s", measured("inference", samples=SAMPLES))
    assert row["inference_p95_ns"] == pytest.approx(1379.6, abs=1)
    assert row["inference_p99_ns"] == pytest.approx(1395.7, abs=1)
    few = task_row("s", measured("inference", samples=SAMPLES[:100]))
    assert few["inference_p95_ns"] is not None
    assert few["inference_p99_ns"] is None


def test_the_time_to_the_first_step_is_import_build_and_first_calls() -> None:
    known = {"import_ns": 10, "build_ns": 200, "first_call_ns": 3000}
    assert task_row("s", measured("step", **known))["time_to_first_step_ns"] == 3210
    assert task_row("s", measured("step", import_ns=10))["time_to_first_step_ns"] is None


def test_a_step_has_the_operations_of_a_gradient_and_inference_those_of_forward() -> None:
    row = task_row("s", measured("inference", "step"))
    model = MODELS["lenet"]
    assert row["inference_flops"] == count_forward_flops(model, 64)
    assert row["step_flops"] == count_gradient_flops(model, 64)


def test_rates_of_inference_and_step_are_computed_from_their_times() -> None:
    table = add_rates(to_table("tasks", [task_row("s", measured("inference", "step"))]))
    (row,) = table.to_pylist()
    assert row["inference_examples_per_s"] == pytest.approx(64 / 3e-3)
    assert row["step_flops_per_s"] == pytest.approx(row["step_flops"] / 5e-3)
    assert row["gradient_examples_per_s"] is None


def test_a_disproved_task_keeps_no_time_of_any_phase() -> None:
    row = task_row("s", replace(measured(*TIMED_PHASES), status=Status.DISAGREED))
    assert {row[f"{phase}_median_ns"] for phase in TIMED_PHASES} == {None}


def test_a_row_without_a_time_has_no_decisive_phase() -> None:
    row = task_row_with(status="crashed")
    assert (row.timed, row.decisive) == ((), "")
