"""Slowdowns of a task's cores while it was timed: clock, heat, CPU quota, memory stalls."""

from collections.abc import Sequence

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.agents.measurement import Reading
from velodrome.agents.sampling import interference_thresholds as bounds
from velodrome.agents.sampling.interference_finding import InterferenceFinding, Phrase, Severity
from velodrome.agents.sampling.windows import PhaseReadings


def find_slowdowns(readings: Sequence[Reading], task_cpus: int) -> list[InterferenceFinding]:
    """Find falling clocks, heat, CPU quotas and memory stalls. task_cpus: CPUs of the threads."""
    timed = PhaseReadings(readings, TIMED_PHASES)
    return [
        *_find_clock_drops(readings, task_cpus),
        *_find_heat(timed),
        *_find_quota(timed),
        *_find_memory_stalls(timed),
    ]


def find_cpu_pressure(readings: Sequence[Reading], severity: Severity) -> list[InterferenceFinding]:
    """Find CPU pressure; the kernel does not state the CPU that a process waited for."""
    percent = PhaseReadings(readings, TIMED_PHASES).mean(lambda reading: reading.pressure_percent)
    if percent is None or percent <= bounds.CPU_PRESSURE_PERCENT:
        return []
    return [InterferenceFinding(f"{Phrase.CPU_PRESSURE} {percent:.0f} % of the time", severity)]


def _find_clock_drops(readings: Sequence[Reading], task_cpus: int) -> list[InterferenceFinding]:
    """Compare within a phase: wide vector instructions have a clock of their own."""
    findings = []
    for phase in TIMED_PHASES:
        clocks = sorted(_busy_clocks(readings, phase, task_cpus))
        if len(clocks) < bounds.FEWEST_READINGS:
            continue
        low, high = clocks[int(len(clocks) * bounds.CLOCK_SHARE)], clocks[-1]
        if low < high * (1 - bounds.CLOCK_DROP):
            text = f"{Phrase.CPU_CLOCK} from {high:.0f} to {low:.0f} MHz in {phase}"
            findings.append(InterferenceFinding(text))
    return findings


def _busy_clocks(readings: Sequence[Reading], phase: str, task_cpus: int) -> list[float]:
    """List the MHz readings while the task kept its CPUs busy."""
    busy_percent = bounds.CLOCK_BUSY_PERCENT * task_cpus
    return [
        reading.cpu_mhz
        for reading in readings
        if reading.phase == phase
        and reading.cpu_mhz is not None
        and reading.cpu_percent >= busy_percent
    ]


def _find_heat(timed: PhaseReadings) -> list[InterferenceFinding]:
    times = timed.growth(lambda reading: reading.thermal_throttles)
    return [InterferenceFinding(f"{Phrase.CPU_HEAT} {times:.0f} times")] if times else []


def _find_quota(timed: PhaseReadings) -> list[InterferenceFinding]:
    stopped_s = timed.growth(lambda reading: reading.quota_us) / 1e6
    known_s = timed.covered_s(lambda reading: reading.quota_us)
    if not known_s or 100 * stopped_s / known_s <= bounds.QUOTA_PERCENT:
        return []
    text = f"{Phrase.CPU_QUOTA} for {1000 * stopped_s:.0f} ms, all CPUs together"
    return [InterferenceFinding(text)]


def _find_memory_stalls(timed: PhaseReadings) -> list[InterferenceFinding]:
    findings = []
    percent = timed.mean(lambda reading: reading.memory_pressure_percent)
    if percent is not None and percent > bounds.MEMORY_PRESSURE_PERCENT:
        text = f"{Phrase.MEMORY_PRESSURE} {percent:.0f} % of the time"
        findings.append(InterferenceFinding(text))
    pages = timed.growth(lambda reading: reading.swapped_in_pages)
    if pages > bounds.SWAPPED_IN_PAGES:
        findings.append(InterferenceFinding(f"{pages:.0f} {Phrase.SWAP}"))
    return findings
