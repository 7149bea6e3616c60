"""Columns and rows about a task's GPUs."""

from dataclasses import replace

from made_measurements import make_measurement

from velodrome.agents.gpu_models import with_gpus
from velodrome.agents.measurement import (
    GpuProcess,
    GpuReading,
    Measurement,
    PhaseEnergy,
    PhaseMeans,
    Reading,
)
from velodrome.agents.node import Gpu
from velodrome.scheduler.results.rows import utilization_rows
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.task_row import task_row

MIB = 2**20
OTHERS = (GpuProcess(7, "python", 300 * MIB), GpuProcess(8, "train", 200 * MIB))


def measurement(*gpus: GpuReading) -> Measurement:
    return make_measurement(
        device="gpu",
        gpu_count=1,
        readings=tuple(
            Reading(i, "gradient", 1.0, 1, 1, gpus=(gpu,)) for i, gpu in enumerate(gpus)
        ),
        energy_j=9.0,
        energy_source="estimated",
        energy_reason="GPU 0 has no energy counter: its power was integrated",
        energies=(PhaseEnergy("gradient", 0.25), PhaseEnergy("fed_gradient", 0.5)),
        peak_gpu_process_memory_bytes=5 * MIB,
        means=(PhaseMeans("gradient", 100.0, 90.0, 40.0, 350.5, 1980.0),),
    )


def test_means_per_phase_and_energy_per_gradient_have_their_own_columns() -> None:
    row = task_row("s", measurement())
    assert list(row) == TABLES["tasks"].names
    expected = {
        "energy_reason": "GPU 0 has no energy counter: its power was integrated",
        "energy_per_gradient_j": 0.25,
        "energy_per_forward_j": None,
        "energy_per_fed_gradient_j": 0.5,
        "energy_deviation_percent": None,
        "peak_gpu_process_memory_bytes": 5 * MIB,
        "gradient_cpu_percent_mean": 100.0,
        "gradient_gpu_percent_mean": 90.0,
        "gradient_gpu_memory_percent_mean": 40.0,
        "gradient_gpu_power_w_mean": 350.5,
        "gradient_sm_mhz_mean": 1980.0,
        "forward_cpu_percent_mean": None,
        "forward_gpu_power_w_mean": None,
    }
    assert {name: row[name] for name in expected} == expected


def test_other_processes_on_a_gpu_are_counted_and_unknown_is_not_zero() -> None:
    kinds = (None, (), OTHERS, (*OTHERS, GpuProcess(9, "", None)))
    rows = utilization_rows(
        "s", measurement(*(GpuReading(0, "a", other_processes=kind) for kind in kinds))
    )
    counts = [(row["gpu_other_processes"], row["gpu_other_memory_bytes"]) for row in rows]
    assert counts == [(None, None), (0, 0), (2, 500 * MIB), (3, None)]


def test_the_capability_and_numa_node_of_a_tasks_gpus_are_null_where_nobody_states_them() -> None:
    columns = ("gpu_name", "gpu_uuids", "gpu_compute_capability", "gpu_numa_nodes")
    silent = Gpu(0, "AMD Instinct MI210", "GPU-1", 2**36)
    stated = replace(silent, name="NVIDIA L4", compute_capability="8.9", numa_node=1)
    for gpus, expected in (
        ((), [None, [], None, None]),
        ((silent,), ["AMD Instinct MI210", ["GPU-1"], None, None]),
        (
            (stated, replace(stated, uuid="GPU-2", numa_node=None)),
            ["NVIDIA L4, NVIDIA L4", ["GPU-1", "GPU-2"], "8.9", [1, None]],
        ),
    ):
        row = task_row("s", with_gpus(measurement(), gpus))
        assert [row[name] for name in columns] == expected
