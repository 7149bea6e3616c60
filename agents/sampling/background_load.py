"""CPU load of other processes, and time taken by the hypervisor, while a task was timed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.agents.measurement import Reading
from velodrome.agents.sampling import interference_thresholds as bounds
from velodrome.agents.sampling.interference_finding import InterferenceFinding, Phrase, Severity
from velodrome.agents.sampling.interfering_processes import (
    UNKNOWN_SOURCE,
    name_interference_sources,
)
from velodrome.agents.sampling.process_counters import TICK_NS
from velodrome.agents.sampling.windows import PhaseReadings

# A sandbox may count CPU time of CPUs and of processes differently, or not at all.
COUNTED_SHARE = 0.5
# A scan just after the end of timing may show the source of interference at its end.
LATE_SCAN_NS = 2 * 10**9


@dataclass(frozen=True)
class CpuCounts:
    """CPU counts: of the task's threads; with their SMT siblings; of the machine."""

    task_cpus: int
    core_cpus: int
    machine_cpus: int


def other_cpu_percent(timed: PhaseReadings) -> float | None:
    """Return others' CPU use on the task's cores; None: too few readings, or unusable counts."""
    others_percent = timed.mean(_other_cpu)
    if others_percent is None or timed.count(_other_cpu) < bounds.FEWEST_READINGS:
        return None
    own = _own_percent(timed)
    return None if own > 0 and others_percent < -own * COUNTED_SHARE else others_percent


def find_core_interference(
    readings: Sequence[Reading], cpus: CpuCounts
) -> list[InterferenceFinding]:
    """Find others' work on the task's cores while it was timed, or before."""
    timed = PhaseReadings(readings, TIMED_PHASES)
    during = other_cpu_percent(timed)
    earlier = _readings_before_timing(readings)
    before = other_cpu_percent(earlier)
    early = before is not None and before > bounds.BEFORE_PERCENT
    if during is not None and during > _other_cpu_bound(timed, during, cpus):
        when = "before and while" if early else "while"
        text = f"{Phrase.TASK_CORES} {when} it was timed, {during:.0f} % of one core"
        return [InterferenceFinding(f"{text}: {_name_sources(readings, timed, during)}")]
    if before is not None and early:
        text = f"{Phrase.TASK_CORES} before it was timed, {before:.0f} % of one core"
        names = ", ".join(name_interference_sources(earlier.inside, on_task_cores=True))
        return [InterferenceFinding(f"{text}: {names}" if names else text, Severity.REPORTED)]
    return []


def find_other_core_interference(
    readings: Sequence[Reading], cpus: CpuCounts
) -> list[InterferenceFinding]:
    """Find others' work on the rest of the machine while the task was timed."""
    timed = PhaseReadings(readings, TIMED_PHASES)
    percent = timed.mean(lambda reading: reading.other_cores_percent)
    free_percent = 100 * (cpus.machine_cpus - cpus.core_cpus)
    if percent is None or percent <= bounds.OTHER_CORES_PERCENT:
        return []
    no_cpu_free = percent > free_percent - 100 + bounds.OTHER_CORES_PERCENT
    crowded = percent > free_percent * bounds.CROWDED_SHARE + bounds.OTHER_CORES_PERCENT
    names = ", ".join(
        name_interference_sources(_readings_since_timing(readings), on_task_cores=False)
    )
    used = f"others used {percent / 100:.1f} of the {free_percent // 100} {Phrase.OTHER_CORES}"
    severity = Severity.FLAGGED if no_cpu_free or crowded else Severity.REPORTED
    return [InterferenceFinding(f"{used}: {names}" if names else used, severity)]


def find_steal(readings: Sequence[Reading]) -> list[InterferenceFinding]:
    """Find CPU time that the hypervisor took."""
    percent = PhaseReadings(readings, TIMED_PHASES).mean(lambda reading: reading.steal_percent)
    if percent is None or percent <= bounds.STEAL_PERCENT:
        return []
    return [InterferenceFinding(f"other machines took {percent:.1f} % {Phrase.STEAL}")]


def _other_cpu(reading: Reading) -> float | None:
    return reading.other_cpu_percent


def _own_percent(timed: PhaseReadings) -> float:
    return timed.mean(lambda reading: reading.cpu_percent) or 0.0


def _readings_before_timing(readings: Sequence[Reading]) -> PhaseReadings:
    first = next((r.at_ns for r in readings if r.phase in TIMED_PHASES), math.inf)
    early = [reading for reading in readings if reading.at_ns < first]
    return PhaseReadings(early, {reading.phase for reading in early})


def _other_cpu_bound(timed: PhaseReadings, others_percent: float, cpus: CpuCounts) -> float:
    """Compute the bound in percent of one core, with the sampling error of the kernel's counts."""
    ticks = cpus.core_cpus * timed.covered_s(_other_cpu) * 1e9 / TICK_NS
    busy = (others_percent + _own_percent(timed)) / (100 * cpus.core_cpus)
    share = min(max(busy, 0.0), 1.0)
    deviation = math.sqrt(share * (1 - share) / ticks) * 100 * cpus.core_cpus
    return bounds.other_cpu_bound(cpus.task_cpus) + bounds.CERTAINTY_SIGMAS * deviation


def _name_sources(readings: Sequence[Reading], timed: PhaseReadings, others_percent: float) -> str:
    """Join the names of the sources, if they are known."""
    interrupts = timed.mean(lambda reading: reading.interrupt_percent) or 0.0
    names = list(name_interference_sources(_readings_since_timing(readings), on_task_cores=True))
    if interrupts > others_percent / 2:
        names.append("interrupts")
    return ", ".join(names) or UNKNOWN_SOURCE


def _readings_since_timing(readings: Sequence[Reading]) -> Sequence[Reading]:
    """Return readings from the first timed phase to the process scan after the last one."""
    timed = [index for index, reading in enumerate(readings) if reading.phase in TIMED_PHASES]
    first, last = timed[0], timed[-1]
    until_ns = readings[last].at_ns + LATE_SCAN_NS
    after = next(
        (
            index
            for index, reading in enumerate(readings)
            if index > last and reading.top_processes and reading.at_ns < until_ns
        ),
        last,
    )
    return readings[first : after + 1]
