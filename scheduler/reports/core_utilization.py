"""Mean core, memory and GPU use of each framework during its timed phases.

The study's second axis. Per phase it is the mean over all readings of all repeats in the table
`utilization`. A reading is CPU time over its interval, so the mean is the CPU time of the phase
over its length.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from velodrome.adapters.protocol import TIMED_PHASES, USUAL_PHASES
from velodrome.scheduler.reports import cell_keys
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.typed_rows import TaskRow

_RUN = ("task_id", "repeat")


@dataclass(frozen=True)
class PhaseCores:
    """The mean number of busy cores in a phase, None if it was not read, and its readings."""

    cores: float | None
    readings: int


@dataclass(frozen=True)
class CoreUse:
    """The core use of one implementation on one workload. phases: those that were asked for."""

    platform: cell_keys.Platform
    workload: cell_keys.Workload
    impl: cell_keys.Implementation
    phases: Mapping[str, PhaseCores]
    peak_rss_bytes: int | None
    gpu_percent: float | None
    peak_gpu_memory_bytes: int | None

    @property
    def share(self) -> float | None:
        """The share of the assigned cores, over all phases, weighted by their readings."""
        if not self.readings:
            return None
        busy = sum((one.cores or 0.0) * one.readings for one in self.phases.values())
        return busy / self.readings / self.platform.total_threads

    @property
    def readings(self) -> int:
        return sum(one.readings for one in self.phases.values())


@dataclass(frozen=True)
class _Mean:
    cpu_percent: float
    readings: int
    gpu_percent: float | None


def summarize_core_use(tasks: Iterable[TaskRow], utilization: pa.Table) -> tuple[CoreUse, ...]:
    """Summarize the tasks that have a time, by platform, in the order of zoo and registry."""
    means = _average_readings(utilization)
    groups: dict[
        tuple[cell_keys.Platform, cell_keys.Workload, cell_keys.Implementation], list[TaskRow]
    ] = {}
    last = select_last_attempts(tasks)
    qualifiers = cell_keys.find_qualifiers(last)
    for row in last:
        if row.timed:
            groups.setdefault(
                (
                    cell_keys.read_platform(row),
                    cell_keys.read_workload(row),
                    cell_keys.read_implementation(row, qualifiers),
                ),
                [],
            ).append(row)
    found = [_build_core_use(*key, rows, means) for key, rows in groups.items()]
    return tuple(sorted(found, key=_rank))


def _rank(use: CoreUse) -> tuple[object, ...]:
    return (
        cell_keys.platform_order(use.platform),
        cell_keys.workload_order(use.workload),
        cell_keys.implementation_order(use.impl),
    )


def _average_readings(utilization: pa.Table) -> Mapping[tuple[str, int, str], _Mean]:
    """Average per task, repeat and phase. A reading has a row per GPU but counts once."""
    timed = utilization.filter(pc.is_in(utilization["phase"], pa.array(TIMED_PHASES)))
    instants = timed.group_by([*_RUN, "phase", "at_ns"]).aggregate(
        [("cpu_percent", "max"), ("gpu_percent", "mean")]
    )
    phases = instants.group_by([*_RUN, "phase"]).aggregate(
        [("cpu_percent_max", "mean"), ("cpu_percent_max", "count"), ("gpu_percent_mean", "mean")]
    )
    return {
        (row["task_id"], row["repeat"], row["phase"]): _Mean(
            row["cpu_percent_max_mean"], row["cpu_percent_max_count"], row["gpu_percent_mean_mean"]
        )
        for row in phases.to_pylist()
        if row["cpu_percent_max_count"]
    }


def _build_core_use(
    platform: cell_keys.Platform,
    workload: cell_keys.Workload,
    impl: cell_keys.Implementation,
    rows: Sequence[TaskRow],
    means: Mapping[tuple[str, int, str], _Mean],
) -> CoreUse:
    per_phase = {
        phase: [mean for row in rows if (mean := means.get((row.task_id, row.repeat, phase)))]
        for phase in TIMED_PHASES
    }
    asked_for = {phase for row in rows for phase in row.phases or USUAL_PHASES}
    gpu = [mean for found in per_phase.values() for mean in found if mean.gpu_percent is not None]
    return CoreUse(
        platform,
        workload,
        impl,
        {
            phase: PhaseCores(_average_cores(found), _count_readings(found))
            for phase, found in per_phase.items()
            if found or phase in asked_for
        },
        _find_largest(row.peak_rss_bytes for row in rows),
        sum(mean.gpu_percent or 0.0 for mean in gpu) / len(gpu) if gpu else None,
        _find_largest(row.peak_gpu_memory_bytes for row in rows),
    )


def _average_cores(means: Sequence[_Mean]) -> float | None:
    if not means:
        return None
    busy = sum(mean.cpu_percent * mean.readings for mean in means)
    return busy / _count_readings(means) / 100.0


def _count_readings(means: Sequence[_Mean]) -> int:
    return sum(mean.readings for mean in means)


def _find_largest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)
