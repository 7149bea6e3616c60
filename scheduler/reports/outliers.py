"""Outlier detection: nodes or GPUs that are slower or faster than others of their type.

Each task is compared over the nodes of one type that ran it (on GPUs, over the GPUs), by the
median over the repeats of its decisive phase's time: the gradient's where there is one. The
robust z-score is the distance to the median over 1.4826 MAD, the median absolute deviation scaled
to the standard deviation of a normal distribution; beyond 3.5 a value is an outlier (Iglewicz and
Hoaglin, How to Detect and Handle Outliers, ASQC 1993; they write 0.6745 for 1 / 1.4826). Median and
MAD, because an outlier shifts a mean.

Fewer than four are not compared: of three, two that agree by chance make the third an outlier. If
more than half are equal, MAD is 0 and the z-score of any other value is infinite; so a deviation
must also be at least 5 %. Some of many tasks deviate by chance: a machine is an outlier if it
deviates in the same direction in at least two tasks and a tenth of them; in one, if only one was
compared.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from velodrome.scheduler.reports import cell_keys
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.typed_rows import TaskRow

MAD_TO_DEVIATION = 1.4826
MOST_Z = 3.5
LEAST_OFF = 1.05  # ratio to the median, or its inverse
LEAST_TASKS = 2  # with a deviation, unless fewer were compared
LEAST_SHARE = 0.1  # of the compared tasks
FEWEST = 4
BETWEEN = " + "  # hostnames of nodes that ran tasks together


@dataclass(frozen=True, order=True)
class ComparedMachine:
    """A node, or the GPUs of a node that a task ran on."""

    hostname: str
    node_id: str
    gpu_uuids: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskTimes:
    """The time of one task on each machine of one type, in ns per call."""

    platform: cell_keys.Platform
    workload: cell_keys.Workload
    impl: cell_keys.Implementation
    times_ns: Mapping[ComparedMachine, float]
    framework_version: str = ""
    phase: str = ""

    @property
    def is_comparable(self) -> bool:
        return len(self.times_ns) >= FEWEST


@dataclass(frozen=True)
class Deviation:
    """The deviation of one machine in one task. ratio: to the median of its type."""

    task: TaskTimes
    ratio: float
    z: float

    @property
    def off(self) -> float:
        """The ratio or its inverse: equal for twice as slow and twice as fast."""
        return max(self.ratio, 1 / self.ratio)

    @property
    def is_outlier(self) -> bool:
        return abs(self.z) > MOST_Z and self.off >= LEAST_OFF


@dataclass(frozen=True)
class Outlier:
    """A machine that deviates. deviations: beyond the bounds, in one direction, worst first.

    tasks: the number in which it was compared.
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
        return statistics.median(each.ratio for each in self.deviations)

    @property
    def verdict(self) -> str:
        return "slow" if self.ratio > 1 else "fast"


def collect_task_times(rows: Iterable[TaskRow]) -> tuple[TaskTimes, ...]:
    """Collect the times of every task, including tasks on too few machines to compare."""
    times: dict[object, dict[ComparedMachine, list[float]]] = {}
    examples: dict[object, TaskRow] = {}
    for row in select_last_attempts(rows):
        phase = row.decisive
        median_ns = (row.ns(phase) if phase else None) or 0.0
        if not 0 < median_ns < math.inf:
            continue
        key = (row.node_type, row.task_id, row.framework_version, phase)
        examples.setdefault(key, row)
        times.setdefault(key, {}).setdefault(read_machine(row), []).append(median_ns)
    return tuple(
        TaskTimes(
            cell_keys.read_platform(row),
            cell_keys.read_workload(row),
            cell_keys.read_implementation(row),
            {machine: statistics.median(found) for machine, found in times[key].items()},
            row.framework_version,
            row.decisive,
        )
        for key, row in examples.items()
    )


def find_outliers(tasks: Iterable[TaskTimes]) -> tuple[Outlier, ...]:
    """Find the outliers, the largest deviation first."""
    deviations: dict[ComparedMachine, list[Deviation]] = {}
    for task in tasks:
        for machine, each in _compute_deviations(task).items():
            deviations.setdefault(machine, []).append(each)
    outliers = [_judge(machine, each) for machine, each in deviations.items()]
    return tuple(
        sorted(filter(None, outliers), key=lambda outlier: (-outlier.worst.off, outlier.machine))
    )


def compute_robust_z(values: Sequence[float]) -> tuple[float, ...]:
    """Compute the z-score of each value: 0 for the median, infinite for others if MAD is 0."""
    median = statistics.median(values)
    distances = [value - median for value in values]
    scale = MAD_TO_DEVIATION * statistics.median(map(abs, distances))
    return tuple(map(partial(_divide, scale=scale), distances))


def _divide(distance: float, scale: float) -> float:
    if scale:
        return distance / scale
    return math.copysign(math.inf, distance) if distance else 0.0


def _compute_deviations(task: TaskTimes) -> dict[ComparedMachine, Deviation]:
    """Compute the deviation of every machine; empty for too few machines."""
    if not task.is_comparable:
        return {}
    times = [*task.times_ns.values()]
    median = statistics.median(times)
    return {
        machine: Deviation(task, time_ns / median, z)
        for (machine, time_ns), z in zip(
            task.times_ns.items(), compute_robust_z(times), strict=True
        )
    }


def _judge(machine: ComparedMachine, deviations: Sequence[Deviation]) -> Outlier | None:
    """Return an outlier if the machine deviates often enough in its more frequent direction."""
    outlier = sorted((each for each in deviations if each.is_outlier), key=lambda each: -each.off)
    slow, fast = (
        [each for each in outlier if each.z > 0],
        [each for each in outlier if each.z < 0],
    )
    worst = max(slow, fast, key=len)
    tasks = len(deviations)
    if len(worst) < max(min(LEAST_TASKS, tasks), LEAST_SHARE * tasks):
        return None
    return Outlier(machine, tuple(worst), tasks)


def read_machine(row: TaskRow) -> ComparedMachine:
    """Return the node that a row ran on, with the GPUs that it had to itself; or all its nodes."""
    if not row.partner_node_ids:
        return ComparedMachine(row.hostname or row.node_id, row.node_id, row.own_gpus)
    hostnames = (row.hostname, *row.partner_hostnames)
    node_ids = (row.node_id, *row.partner_node_ids)
    pairs = sorted(zip(node_ids, hostnames, strict=True))
    return ComparedMachine(
        BETWEEN.join(hostname for _, hostname in pairs), ",".join(node_id for node_id, _ in pairs)
    )


def split_pair(machine: ComparedMachine) -> list[ComparedMachine]:
    """Return the nodes of a machine that stands for several."""
    names = zip(machine.hostname.split(BETWEEN), machine.node_id.split(","), strict=True)
    return [ComparedMachine(hostname, node_id) for hostname, node_id in names]
