"""The vendor's dense peak of the GPUs or cores that a task ran on, in its precision. Pure."""

import statistics
from collections.abc import Collection, Sequence

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.adapters.vendor_peaks import DevicePeak, find_cpu_peak, find_gpu_peak
from velodrome.agents.measurement import Reading
from velodrome.agents.node import Gpu, Node
from velodrome.agents.task import Task, name_computed_type


def find_task_peak(
    task: Task,
    node: Node,
    cpus: Collection[int],
    gpus: Sequence[Gpu],
    readings: Sequence[Reading],
) -> DevicePeak:
    """Find the peak of a task's share of its node.

    cpus, gpus: its own. readings: with their phases. The CPU's clock is their mean while gradients
    were timed, else in the first other phase that has one.
    """
    dtype = name_computed_type(task.variant, task.dtype)
    if task.device == "gpu":
        if any(gpu.is_mig_instance for gpu in gpus):
            return DevicePeak(None, reason="a MIG instance is a part of a GPU")
        return find_gpu_peak(", ".join(gpu.name for gpu in gpus), dtype)
    cores = sum(1 for core in node.cores if set(cpus).intersection(core.cpus))
    return find_cpu_peak(node.cpu_model, node.instructions, cores, _mean_timed_mhz(readings), dtype)


def _mean_timed_mhz(readings: Sequence[Reading]) -> float | None:
    for phase in ("gradient", *TIMED_PHASES):
        found = [reading.cpu_mhz for reading in readings if reading.phase == phase]
        if clocks := [mhz for mhz in found if mhz is not None]:
            return statistics.fmean(clocks)
    return None
