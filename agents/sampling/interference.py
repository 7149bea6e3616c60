"""Whether anything disturbed a task while it was timed, told from its readings."""

from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.agents.measurement import Reading
from velodrome.agents.sampling.background_load import (
    Place,
    elsewhere,
    on_its_cores,
    other_cpu_percent,
    stolen,
)
from velodrome.agents.sampling.core_slowdowns import cpu_pressure, slowdowns
from velodrome.agents.sampling.interference_finding import Disturbance, Weight, stories
from velodrome.agents.sampling.utilization import TIMED
from velodrome.agents.sampling.windows import Stretch


@dataclass(frozen=True)
class Quietness:
    """quiet None: it cannot be told. interference: what is above its bound; tolerated: what else
    there was (velodrome.agents.sampling.interference_thresholds); each empty if nothing.

    The means are over the timed phases, as in Reading.
    """

    interference_free: bool | None
    interference: str = ""
    minor_interference: str = ""
    other_cpu_percent: float | None = None
    steal_percent: float | None = None
    other_cores_percent: float | None = None


def judge(
    readings: Sequence[Reading], place: Place, others: Sequence[Disturbance] = ()
) -> Quietness:
    """Of readings that know their phase. others: found by others, as on the task's GPUs."""
    timed = Stretch(readings, TIMED)
    foreign = other_cpu_percent(timed)
    found = [
        *on_its_cores(readings, place),
        *elsewhere(readings, place),
        *stolen(readings),
        *slowdowns(readings, place.task_cpus),
        *cpu_pressure(readings, Weight.FLAGGED if foreign is None else Weight.REPORTED),
        *others,
    ]
    flagged = stories(found, Weight.FLAGGED)
    return Quietness(
        interference_free=False if flagged else None if foreign is None else True,
        interference="; ".join(flagged),
        minor_interference="; ".join(stories(found, Weight.REPORTED)),
        other_cpu_percent=None if foreign is None else max(0.0, foreign),
        steal_percent=timed.mean(lambda reading: reading.steal_percent),
        other_cores_percent=timed.mean(lambda reading: reading.other_cores_percent),
    )
