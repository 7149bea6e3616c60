"""The vendor's peak of the part of a node that a task used."""

import pytest

from velodrome.agents.measurement import Reading
from velodrome.agents.node import Core, Gpu, Node
from velodrome.agents.task import Task
from velodrome.agents.vendor_peak import find_task_peak

NODE = Node(
    "n",
    "host",
    "AMD EPYC 7R13 Processor",
    (Core(0, (0, 4)), Core(1, (1, 5)), Core(2, (2, 6))),
    2**34,
    instructions="avx2 fma",
)
CPU_TASK = Task("numpy", "float32", "lenet", 8, threads=2)
GPU_TASK = Task("torch", "eager", "lenet", 8, device="gpu", gpu_count=1, dtype="bfloat16")


def reading(phase: str, mhz: float | None) -> Reading:
    return Reading(0, phase, 100.0, 1, 1, cpu_mhz=mhz)


def test_smt_threads_of_a_core_share_its_units() -> None:
    readings = [reading("gradient", 3000.0)]
    both = find_task_peak(CPU_TASK, NODE, (0, 4), (), readings)
    apart = find_task_peak(CPU_TASK, NODE, (0, 1), (), readings)
    assert both.flops_per_s == 32 * 3e9
    assert apart.flops_per_s == 2 * 32 * 3e9


def test_the_clock_is_that_of_the_gradients_and_of_no_other_phase() -> None:
    readings = [
        reading("warmup", 4000.0),
        reading("forward", 3500.0),
        reading("gradient", 2900.0),
        reading("gradient", 3100.0),
    ]
    assert find_task_peak(CPU_TASK, NODE, (0,), (), readings).flops_per_s == 32 * 3e9
    assert find_task_peak(CPU_TASK, NODE, (0,), (), readings[:2]).flops_per_s == 32 * 3.5e9


def test_a_task_of_steps_alone_has_the_clock_of_its_steps() -> None:
    readings = [reading("warmup", 4000.0), reading("step", 2500.0)]
    assert find_task_peak(CPU_TASK, NODE, (0,), (), readings).flops_per_s == 32 * 2.5e9


def test_a_node_without_a_clock_has_no_peak_but_a_reason() -> None:
    peak = find_task_peak(CPU_TASK, NODE, (0,), (), [reading("gradient", None)])
    assert (peak.flops_per_s, peak.reason) == (
        None,
        "the clock of the cores cannot be read on this node",
    )


def test_a_gpu_task_has_the_peak_of_its_own_gpus_in_its_precision() -> None:
    gpu = Gpu(0, "NVIDIA L4", "GPU-0", 2**34)
    assert find_task_peak(GPU_TASK, NODE, (0,), (gpu,), []).flops_per_s == 121e12
    assert find_task_peak(GPU_TASK, NODE, (0,), (gpu, gpu), []).flops_per_s == 242e12


def test_a_mig_instance_has_no_peak_of_its_own() -> None:
    instance = Gpu(0, "NVIDIA H100 80GB HBM3", "MIG-0", 2**34)
    assert find_task_peak(GPU_TASK, NODE, (0,), (instance,), []).flops_per_s is None


@pytest.mark.parametrize("variant", ["float64"])
def test_a_variant_that_names_its_type_has_the_peak_of_that_type(variant: str) -> None:
    task = Task("numpy", variant, "lenet", 8)
    peak = find_task_peak(task, NODE, (0,), (), [reading("gradient", 3000.0)])
    assert peak.flops_per_s is None
    assert "float64" in peak.reason
