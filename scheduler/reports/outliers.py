"""Which node, or which GPU, is slower or faster than its like, and by what evidence.

Every task is compared over the nodes of one type that ran it (on GPUs, over the GPUs), by the
median over the repeats of its gradient time, or forward time where there is no gradient. The
robust z-score is the distance to the median over 1.4826 MAD, the median absolute deviation scaled
to the standard deviation of a normal distribution; beyond 3.5 a value is an outlier (Iglewicz and
Hoaglin, How to Detect and Handle Outliers, ASQC 1993; they write 0.6745 for 1 / 1.4826). Median and
MAD, because a mean is drawn to the very value that is looked for.

Fewer than four are not compared: of three, two that agree by chance make an outlier of the third.
Where more than half are equal, MAD is 0 and whatever differs is infinitely many of it away. A
practical minimum of 5 % decides besides. Some of many tasks deviate by chance: a machine is named
if it deviates to the same side in two tasks or more, and in a tenth of them; in one, if only one
was compared.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from velodrome.scheduler.reports.cells import (
    Implementation,
    Platform,
    Workload,
    read_implementation,
    read_platform,
    read_workload,
)
from velodrome.scheduler.reports.task_rows import Row, select_last_attempts
from velodrome.scheduler.results.sanitizing import in_one_line

MAD_TO_DEVIATION = 1.4826
MOST_Z = 3.5
LEAST_OFF = 1.05  # over the median, or under it
LEAST_TASKS = 2  # in which it deviates, unless it was compared in fewer
LEAST_SHARE = 0.1  # of the tasks in which it was compared
FEWEST = 4


@dataclass(frozen=True, order=True)
class ComparedMachine:
    """What is compared: a node, or those GPUs of it that a task computed on."""

    hostname: str
    node_id: str
    gpu_uuids: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskTimes:
    """One task on the machines of one type, and how long each took. ns per call."""

    platform: Platform
    workload: Workload
    impl: Implementation
    times_ns: Mapping[ComparedMachine, float]

    @property
    def is_comparable(self) -> bool:
        return len(self.times_ns) >= FEWEST


@dataclass(frozen=True)
class Deviation:
    """How far one machine is off in one task. ratio: over the median of its type."""

    heat: TaskTimes
    ratio: float
    z: float

    @property
    def off(self) -> float:
        """The same for twice as slow and twice as fast."""
        return max(self.ratio, 1 / self.ratio)

    @property
    def is_outlier(self) -> bool:
        return abs(self.z) > MOST_Z and self.off >= LEAST_OFF


@dataclass(frozen=True)
class Outlier:
    """A machine that is named. deviations: those beyond the bounds, to one side, worst first.

    tasks: in how many it was compared.
    """

    machine: ComparedMachine
    deviations: tuple[Deviation, ...]
    tasks: int

    @property
    def worst(self) -> Deviation:
        return self.deviations[0]

    @property
    def ratio(self) -> float:
        """The median over the tasks in which it deviates."""
        return statistics.median(one.ratio for one in self.deviations)

    @property
    def verdict(self) -> str:
        return "slow" if self.ratio > 1 else "fast"


def collect_task_times(rows: Iterable[Row]) -> tuple[TaskTimes, ...]:
    """Of everything that has a time, those too small to compare included."""
    times: dict[object, dict[ComparedMachine, list[float]]] = {}
    examples: dict[object, Row] = {}
    for row in select_last_attempts(rows):
        phase = "forward" if row["gradient_median_ns"] is None else "gradient"
        median_ns = float(str(row[f"{phase}_median_ns"] or 0))
        if not 0 < median_ns < math.inf:
            continue
        key = (row["node_type"], row["task_id"], row["framework_version"], phase)
        examples.setdefault(key, row)
        times.setdefault(key, {}).setdefault(_machine(row), []).append(median_ns)
    return tuple(
        TaskTimes(
            read_platform(row),
            read_workload(row),
            read_implementation(row),
            {machine: statistics.median(found) for machine, found in times[key].items()},
        )
        for key, row in examples.items()
    )


def find_outliers(found: Iterable[TaskTimes]) -> tuple[Outlier, ...]:
    """Those that are furthest off first."""
    deviations: dict[ComparedMachine, list[Deviation]] = {}
    for heat in found:
        for machine, deviation in _deviations(heat).items():
            deviations.setdefault(machine, []).append(deviation)
    named = [_judged(machine, each) for machine, each in deviations.items()]
    return tuple(
        sorted(filter(None, named), key=lambda outlier: (-outlier.worst.off, outlier.machine))
    )


def robust_z(values: Sequence[float]) -> tuple[float, ...]:
    """Of each value. Infinite for what differs where MAD is 0, and 0 for what is the median."""
    middle = statistics.median(values)
    distances = [value - middle for value in values]
    scale = MAD_TO_DEVIATION * statistics.median(map(abs, distances))
    return tuple(map(partial(_over, scale=scale), distances))


def _over(distance: float, scale: float) -> float:
    if scale:
        return distance / scale
    return math.copysign(math.inf, distance) if distance else 0.0


def _deviations(heat: TaskTimes) -> dict[ComparedMachine, Deviation]:
    """Of every machine; none where there are too few."""
    if not heat.is_comparable:
        return {}
    times = [*heat.times_ns.values()]
    middle = statistics.median(times)
    return {
        machine: Deviation(heat, time_ns / middle, z)
        for (machine, time_ns), z in zip(heat.times_ns.items(), robust_z(times), strict=True)
    }


def _judged(machine: ComparedMachine, deviations: Sequence[Deviation]) -> Outlier | None:
    """Named if it deviates often enough, to the side to which it does so more often."""
    outlier = sorted((one for one in deviations if one.is_outlier), key=lambda one: -one.off)
    slow, fast = [one for one in outlier if one.z > 0], [one for one in outlier if one.z < 0]
    told = max(slow, fast, key=len)
    tasks = len(deviations)
    if len(told) < max(min(LEAST_TASKS, tasks), LEAST_SHARE * tasks):
        return None
    return Outlier(machine, tuple(told), tasks)


def _machine(row: Row) -> ComparedMachine:
    uuids = row.get("gpu_uuids") if row["device"] == "gpu" else None
    node_id = in_one_line(row["node_id"])
    gpu_uuids = tuple(map(in_one_line, uuids)) if isinstance(uuids, list) else ()
    return ComparedMachine(in_one_line(row["hostname"]) or node_id, node_id, gpu_uuids)
