"""What made a task's cores slower, or stopped them, while it was timed."""

from collections.abc import Sequence

from velodrome.agents.measurement import Reading
from velodrome.agents.sampling import interference_thresholds as bounds
from velodrome.agents.sampling.interference_finding import Disturbance, Weight
from velodrome.agents.sampling.utilization import TIMED
from velodrome.agents.sampling.windows import Stretch


def slowdowns(readings: Sequence[Reading], task_cpus: int) -> list[Disturbance]:
    """task_cpus: how many CPUs the task's threads run on."""
    timed = Stretch(readings, TIMED)
    return [*_clock(readings, task_cpus), *_heat(timed), *_quota(timed), *_memory(timed)]


def cpu_pressure(readings: Sequence[Reading], weight: Weight) -> list[Disturbance]:
    """It tells that somebody waited, but not on which CPU."""
    percent = Stretch(readings, TIMED).mean(lambda reading: reading.pressure_percent)
    if percent is None or percent <= bounds.CPU_PRESSURE_PERCENT:
        return []
    return [Disturbance(f"some process waited for a CPU {percent:.0f} % of the time", weight)]


def _clock(readings: Sequence[Reading], task_cpus: int) -> list[Disturbance]:
    """Within a phase: wide instructions, of which one has more, have a clock of their own."""
    found = []
    for phase in TIMED:
        clocks = sorted(_busy_clocks(readings, phase, task_cpus))
        if len(clocks) < bounds.FEWEST_READINGS:
            continue
        low, high = clocks[int(len(clocks) * bounds.CLOCK_SHARE)], clocks[-1]
        if low < high * (1 - bounds.CLOCK_DROP):
            story = f"the clock of its cores fell from {high:.0f} to {low:.0f} MHz in {phase}"
            found.append(Disturbance(story))
    return found


def _busy_clocks(readings: Sequence[Reading], phase: str, task_cpus: int) -> list[float]:
    """MHz, when the task kept its CPUs busy."""
    busy_percent = bounds.CLOCK_BUSY_PERCENT * task_cpus
    return [
        reading.cpu_mhz
        for reading in readings
        if reading.phase == phase
        and reading.cpu_mhz is not None
        and reading.cpu_percent >= busy_percent
    ]


def _heat(timed: Stretch) -> list[Disturbance]:
    times = timed.growth(lambda reading: reading.thermal_throttles)
    return [Disturbance(f"its cores were slowed down for heat {times:.0f} times")] if times else []


def _quota(timed: Stretch) -> list[Disturbance]:
    stopped_s = timed.growth(lambda reading: reading.quota_us) / 1e6
    known_s = timed.known_s(lambda reading: reading.quota_us)
    if not known_s or 100 * stopped_s / known_s <= bounds.QUOTA_PERCENT:
        return []
    story = f"the container's CPU limit stopped it for {1000 * stopped_s:.0f} ms, all CPUs together"
    return [Disturbance(story)]


def _memory(timed: Stretch) -> list[Disturbance]:
    found = []
    percent = timed.mean(lambda reading: reading.memory_pressure_percent)
    if percent is not None and percent > bounds.MEMORY_PRESSURE_PERCENT:
        found.append(Disturbance(f"some process waited for memory {percent:.0f} % of the time"))
    pages = timed.growth(lambda reading: reading.swapped_in_pages)
    if pages > bounds.SWAPPED_IN_PAGES:
        found.append(Disturbance(f"{pages:.0f} pages of memory came back from swap"))
    return found
