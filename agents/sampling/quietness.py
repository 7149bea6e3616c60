"""Whether anything else ran on the machine while a task was timed, told from its readings."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.agents.measurement import Reading
from velodrome.agents.sampling.utilization import TIMED

# Of one core. What a machine does by itself, Ray and the agent included, stays below.
TOLERATED_PERCENT = 20.0
FEWEST_READINGS = 3


@dataclass(frozen=True)
class Quietness:
    """quiet None: there are too few readings to tell. others_percent is of one core, the mean."""

    quiet: bool | None
    disturbed_by: str = ""
    others_percent: float | None = None


def judge(readings: Sequence[Reading], machine_cpus: int) -> Quietness:
    """Of readings that know their phase. machine_cpus: all that are online, whoever may use them.

    What the machine did, less what the task's own processes did. Stolen time counts: it is
    another machine's work on this one's cores.
    """
    others = [
        reading.node_cpu_percent * machine_cpus - reading.cpu_percent
        for reading in readings
        if reading.phase in TIMED and reading.node_cpu_percent is not None
    ]
    if len(others) < FEWEST_READINGS:
        return Quietness(None)
    mean = max(0.0, statistics.fmean(others))
    if mean <= TOLERATED_PERCENT:
        return Quietness(quiet=True, others_percent=mean)
    story = f"other processes kept {mean / 100:.1f} cores busy while it was timed"
    return Quietness(quiet=False, disturbed_by=story, others_percent=mean)
