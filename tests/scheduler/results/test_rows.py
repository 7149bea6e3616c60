"""Measurements and nodes to rows: every column from where it should come, and nothing made up."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import Checked, Figure, ParameterError, Timed, Verified
from velodrome.agents.measurement import (
    GpuReading,
    Measurement,
    PhaseEnergy,
    Reading,
    Sample,
    Status,
)
from velodrome.agents.node import Core, Gpu, Node
from velodrome.agents.sampling.top_processes import TopProcess
from velodrome.agents.task import Task
from velodrome.scheduler.plans.expected_outcomes import ExpectedOutcome
from velodrome.scheduler.results.columns import VERSION, VERSION_KEY
from velodrome.scheduler.results.rows import (
    build_tables,
    node_row,
    parameter_rows,
    samples_table,
    to_table,
    utilization_rows,
)
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.task_row import model_hash, task_row

PARAMETERS = (ParameterError("conv1.weight", (20, 1, 5, 5), 3.5, 1e-7, 5e-5),)
MEASUREMENT = Measurement(
    task=Task("torch", "eager", "lenet", 64, threads=2, seed=5, lock_hash="abc"),
    repeat=1,
    attempt=2,
    status=Status.OK,
    reason="",
    node_id="n1",
    hostname="host1",
    node_type="t1",
    started_at=1_700_000_000.5,
    finished_at=1_700_000_010.0,
    framework_version="2.9",
    cpu_model="CPU",
    provision_ns=1,
    import_ns=2,
    build_ns=3,
    transfer_ns=4,
    first_call_ns=5,
    forward=Timed("forward", 10.0, 9.0, 11.0, 30, 2, 5, "settled", stable=True),
    gradient=Timed("gradient", 30.0, 29.0, 32.0, 20, 1, 5, "target", stable=False),
    verified=Verified(2.3, 1e-6, 1e-5, PARAMETERS, (), 7),
    loss_error=1e-6,
    gradient_error=1e-5,
    parameters=PARAMETERS,
    samples=(Sample("forward", 0, 2, 1000, 20), Sample("forward", 1, 2, 1020, 21)),
    readings=(
        Reading(100, "build", 500.0, 10, 3),
        Reading(200, "forward", 90.0, 20, 4, context_switches=9, package_energy_uj=77),
        Reading(300, "gradient", 110.0, 30, 4),
    ),
    peak_rss_bytes=31,
    kernels=("openblas 0.3.13 SKYLAKEX",),
    notes=("LRN is written by hand",),
)
NODE = Node(
    node_id="n1",
    hostname="host1",
    cpu_model="CPU",
    cores=(Core(0, (0, 2)), Core(1, (1, 3))),
    ram_bytes=2**34,
    gpus=(Gpu(0, "NVIDIA H100", "GPU-1", 2**36, "550", 700.0),),
    labels=(("pool", "lab"),),
)


def test_all_columns_of_the_results_page_exist_in_its_order() -> None:
    page = (
        "sweep_id task_id repeat attempt status reason log_tail rerun framework framework_version "
        "variant model batch_size device threads dtype node_id hostname node_type cpu_model "
        "gpu_name gpu_count started_at finished_at provision_ns import_ns build_ns first_call_ns "
        "forward_median_ns forward_low_ns forward_high_ns forward_samples gradient_median_ns "
        "gradient_low_ns gradient_high_ns gradient_samples stop_reason stable loss_error "
        "gradient_error verified parameters forward_flops gradient_flops ceiling_flops_per_s "
        "gradient_efficiency cpu_percent_mean peak_rss_bytes gpu_percent_mean "
        "peak_gpu_memory_bytes energy_j energy_source interference_free interference "
        "environment_hash seed "
        "velodrome_version"
    )
    named = set(page.split())
    assert [name for name in TABLES["tasks"].names if name in named] == page.split()


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_its_version_and_the_units_of_its_numbers(name: str) -> None:
    schema = TABLES[name]
    assert schema.metadata == {VERSION_KEY: VERSION.encode()}
    for field in schema:
        if field.name.endswith(("_ns", "_bytes", "_percent", "_mhz", "_w", "_mj", "_j", "_c")):
            assert field.metadata[b"unit"], field.name


def test_a_task_row_has_every_column_from_its_field() -> None:
    row = task_row("s1", MEASUREMENT)
    assert list(row) == TABLES["tasks"].names
    expected = {
        "sweep_id": "s1",
        "task_id": MEASUREMENT.task.key,
        "repeat": 1,
        "attempt": 2,
        "status": "ok",
        "framework": "torch",
        "framework_version": "2.9",
        "kernels": ["openblas 0.3.13 SKYLAKEX"],
        "variant": "eager",
        "model": "lenet",
        "batch_size": 64,
        "device": "cpu",
        "threads": 2,
        "node_type": "t1",
        "gpu_name": None,
        "started_at": datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC),
        "forward_median_ns": 10.0,
        "forward_low_ns": 9.0,
        "forward_high_ns": 11.0,
        "forward_samples": 30,
        "forward_stable": True,
        "gradient_median_ns": 30.0,
        "gradient_samples": 20,
        "stop_reason": "target",
        "stable": False,
        "warm_up_converged": True,
        "gradient_drift": 0.0,
        "verified": True,
        "parameters": 431_080,
        "forward_flops": 2 * 2_293_000 * 64,
        "cpu_percent_mean": 100.0,
        "gpu_percent_mean": None,
        "interference_free": None,
        "environment_hash": "abc",
        "seed": 5,
        "notes": ["LRN is written by hand"],
    }
    assert {name: row[name] for name in expected} == expected


def checked(name: str, phase: str, outcome: str = "passed", reason: str = "") -> Checked:
    return Checked(
        name, phase, outcome, (Figure("ratio", 2.0), Figure("share", math.nan)), reason, 9
    )


CHECKS = (
    checked("possible", "forward"),
    checked("drained", "forward"),
    checked("twice_the_work", "forward", "cannot_tell", "it is noisy: 1.7"),
    checked("drained", "gradient"),
    checked("possible", "gradient"),
    checked("twice_the_work", "gradient"),
    checked("follows_parameters", "gradient", "impossible", "they are constants"),
    checked("not_seen_before", "forward"),
)


def test_a_check_counts_as_proved_if_it_passed_in_every_timed_phase() -> None:
    row = task_row("s1", replace(MEASUREMENT, checks=CHECKS))
    assert row["proved"] == ["possible", "drained"]
    assert row["unproved"] == [
        "twice_the_work forward: cannot_tell: it is noisy: 1.7",
        "follows_parameters gradient: impossible: they are constants",
    ]
    (kept,) = build_tables("s1", replace(MEASUREMENT, checks=CHECKS))["tasks"].to_pylist()
    assert kept["checks"][2] == {
        "name": "twice_the_work",
        "phase": "forward",
        "outcome": "cannot_tell",
        "reason": "it is noisy: 1.7",
        "figures": [{"name": "ratio", "value": 2.0}, {"name": "share", "value": None}],
    }
    assert len(kept["checks"]) == len(CHECKS)


def test_a_row_without_reached_checks_differs_from_one_of_an_old_version() -> None:
    row = task_row("s1", MEASUREMENT)
    assert (row["proved"], row["unproved"], row["checks"]) == ([], [], [])


def test_a_task_that_disagreed_after_timing_has_no_time_and_is_not_verified() -> None:
    late = checked("not_seen_before", "forward", "failed", "it was kept")
    reason = "not_seen_before of forward failed: it was kept"
    measurement = replace(
        MEASUREMENT,
        status=Status.DISAGREED,
        reason=reason,
        checks=(*CHECKS[:2], late),
        energies=(PhaseEnergy("gradient", 2.5), PhaseEnergy("forward", 1.0)),
    )
    row = task_row("s1", measurement)
    assert (row["verified"], row["reason"]) == (False, reason)
    times = {name for name in row if name.startswith(("forward_", "gradient_"))}
    numbers = {name: row[name] for name in times if name.endswith(("_ns", "_samples", "_stable"))}
    assert set(numbers.values()) == {None}
    assert (row["energy_per_gradient_j"], row["stable"]) == (None, None)
    assert row["energy_per_forward_j"] is None
    assert row["proved"] == ["possible", "drained"]
    assert row["unproved"] == ["not_seen_before forward: failed: it was kept"]
    assert samples_table("s1", [measurement]).num_rows == len(MEASUREMENT.samples)


def test_a_warm_up_that_never_converged_is_in_the_row() -> None:
    assert MEASUREMENT.forward is not None
    restless = MEASUREMENT.forward._replace(settled=False, drift=0.03)
    row = task_row("s1", replace(MEASUREMENT, forward=restless))
    assert (row["warm_up_converged"], row["forward_drift"]) == (False, 0.03)


def test_samples_without_an_interval_leave_no_bounds_and_a_reason_in_the_row() -> None:
    assert MEASUREMENT.forward is not None
    few = MEASUREMENT.forward._replace(samples=3, stable=False, doubt="few", bounded=False)
    row = task_row("s1", replace(MEASUREMENT, forward=few))
    assert (row["forward_median_ns"], row["forward_samples"]) == (10.0, 3)
    assert (row["forward_low_ns"], row["forward_high_ns"]) == (None, None)
    assert (row["forward_instability"], row["gradient_instability"]) == ("few", "")


def test_a_model_without_gradients_is_as_stable_as_its_forward_time() -> None:
    row = task_row("s1", replace(MEASUREMENT, gradient=None))
    assert (row["stop_reason"], row["stable"]) == ("settled", True)
    assert (row["gradient_median_ns"], row["gradient_samples"]) == (None, None)


def test_unreached_fields_are_null() -> None:
    nothing = Measurement(
        task=Task("torch", "eager", "of-my-own", 1),
        repeat=0,
        attempt=1,
        status=Status.UNPLACEABLE,
        reason="there is no node",
        node_id="",
        hostname="",
        node_type="",
        started_at=0.0,
        finished_at=0.0,
        gradient_error=math.nan,
    )
    row = task_row("s1", nothing)
    unknown = {name for name, value in row.items() if value is None}
    assert unknown >= {"node_id", "hostname", "framework_version", "stable", "gradient_error"}
    assert unknown >= {"parameters", "forward_flops", "cpu_percent_mean", "peak_rss_bytes"}
    assert (row["status"], row["verified"]) == ("unplaceable", False)
    assert set(build_tables("s1", nothing)) == {"tasks"}


def test_a_utilization_row_holds_a_reading_of_the_node_or_of_one_gpu() -> None:
    two = (GpuReading(0, "GPU-0", percent=50.0, power_w=300.0), GpuReading(1, "GPU-1"))
    readings = (*MEASUREMENT.readings, Reading(400, "gradient", 1.0, 1, 1, gpus=two))
    measurement = replace(MEASUREMENT, readings=readings)
    found = to_table("utilization", utilization_rows("s1", measurement)).to_pylist()
    assert [(row["at_ns"], row["gpu_uuid"]) for row in found] == [
        (100, None),
        (200, None),
        (300, None),
        (400, "GPU-0"),
        (400, "GPU-1"),
    ]
    assert (found[1]["context_switches"], found[1]["package_energy_uj"]) == (9, 77)
    assert (found[3]["gpu_percent"], found[3]["power_w"], found[4]["power_w"]) == (
        50.0,
        300.0,
        None,
    )
    assert task_row("s1", measurement)["gpu_percent_mean"] == 50.0


def test_rows_hold_the_load_of_others_but_no_suspected_processes() -> None:
    others = {
        "other_cpu_percent": 4.0,
        "other_cores_percent": 5.0,
        "steal_percent": 6.0,
        "quota_us": 7,
    }
    suspects = (TopProcess(8, "stress-ng", 99.0, on_task_cores=True, running=True),)
    readings = (Reading(100, "forward", 1.0, 1, 1, top_processes=suspects, **others),)
    means = {
        "interference_free": False,
        "interference": "heat",
        "minor_interference": "others",
        "other_cpu_percent_mean": 1.0,
        "other_cores_percent_mean": 2.0,
        "steal_percent_mean": 3.0,
        "sampling_cpu_s": 0.5,
    }
    measurement = replace(MEASUREMENT, readings=readings, **means)
    row = task_row("s1", measurement)
    assert {name: row[name] for name in means} == means
    (found,) = to_table("utilization", utilization_rows("s1", measurement)).to_pylist()
    assert {name: found[name] for name in others} == others
    assert "suspects" not in found


def test_samples_and_parameters_name_their_task_and_repeat() -> None:
    key = {"sweep_id": "s1", "task_id": MEASUREMENT.task.key, "repeat": 1}
    assert samples_table("s1", [MEASUREMENT]).to_pylist()[1] == {
        **key,
        "phase": "forward",
        "index": 1,
        "calls": 2,
        "started_ns": 1020,
        "elapsed_ns": 21,
    }
    assert parameter_rows("s1", MEASUREMENT) == [
        {
            **key,
            "name": "conv1.weight",
            "shape": [20, 1, 5, 5],
            "reference_norm": 3.5,
            "error": 1e-7,
            "allowed": 5e-5,
        }
    ]


def test_a_tolerance_that_was_not_sent_is_null() -> None:
    entry = MEASUREMENT.parameters[0]._replace(allowed=0.0)
    (row,) = parameter_rows("s1", replace(MEASUREMENT, parameters=(entry,)))
    assert row["allowed"] is None


def test_a_node_row_is_its_inventory() -> None:
    (row,) = to_table("nodes", [node_row("s1", NODE)]).to_pylist()
    assert (row["node_type"], row["cores"], row["threads"]) == (NODE.node_type, 2, 4)
    assert row["labels"] == [{"key": "pool", "value": "lab"}]
    assert row["gpus"][0]["name"] == "NVIDIA H100"
    assert row["ceilings"] is row["ceilings_by_dtype"] is None


def test_every_row_fits_its_table() -> None:
    for name, table in build_tables("s1", MEASUREMENT).items():
        assert isinstance(table, pa.Table)
        assert table.schema.equals(TABLES[name], check_metadata=True)


def test_a_row_has_its_expectation_and_whether_it_is_unexpected() -> None:
    lacks = ExpectedOutcome(("unsupported", "timed_out"), "no LRN there")
    row = task_row("s", MEASUREMENT, lacks)
    assert (row["expected"], row["expected_reason"]) == ("unsupported or timed_out", "no LRN there")
    assert row["unexpected"] is True
    assert (
        task_row("s", replace(MEASUREMENT, status=Status.TIMED_OUT), lacks)["unexpected"] is False
    )
    assert task_row("s", MEASUREMENT)["expected"] == "agreed"
    assert task_row("s", MEASUREMENT)["unexpected"] is False


def test_a_models_hash_covers_its_computation() -> None:
    lenet = MODELS["lenet"]
    assert model_hash(lenet._replace(name="other", about="others", batch_size=1)) == model_hash(
        lenet
    )
    wider = lenet.layers[0]._replace(maps=21)
    changed = lenet._replace(layers=(wider, *lenet.layers[1:]))
    assert model_hash(changed) != model_hash(lenet)
    assert len({model_hash(model) for model in MODELS.values()}) == len(MODELS)


def test_new_fields_of_layers_do_not_change_a_models_hash() -> None:
    # It joins results of years: it may change only if the computation changes.
    assert model_hash(MODELS["lenet"]) == "631746f5e25d"


def test_percentiles_are_computed_from_samples_per_call_up_to_their_reach() -> None:
    samples = tuple(Sample("forward", rank, 2, rank, 2 * rank) for rank in range(1, 101))
    row = task_row("s", replace(MEASUREMENT, samples=samples))
    assert row["forward_p95_ns"] == pytest.approx(95.65)  # worked in test_percentiles.py
    assert row["forward_p99_ns"] is None  # 100 samples say nothing of it
    assert row["gradient_p95_ns"] is None  # no sample was kept


def test_percentiles_of_dependent_samples_reach_less_far() -> None:
    samples = tuple(Sample("forward", rank, 2, rank, 2 * rank) for rank in range(1, 101))
    assert MEASUREMENT.forward is not None
    forward = MEASUREMENT.forward._replace(worth=50.0)
    row = task_row("s", replace(MEASUREMENT, samples=samples, forward=forward))
    assert row["forward_p95_ns"] is None
