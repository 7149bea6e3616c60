"""Whether anything disturbed a task while it was timed, told from its readings."""

from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.agents.measurement import Reading
from velodrome.agents.sampling.background_load import (
    Place,
    elsewhere,
    foreign_percent,
    on_its_cores,
    stolen,
)
from velodrome.agents.sampling.core_slowdowns import cpu_pressure, slowdowns
from velodrome.agents.sampling.interference_finding import Disturbance, Weight, stories
from velodrome.agents.sampling.utilization import TIMED
from velodrome.agents.sampling.windows import Stretch


@dataclass(frozen=True)
class Quietness:
    """quiet None: it cannot be told. disturbed_by: what is above its bound; tolerated: what else
    there was (velodrome.agents.sampling.interference_thresholds); each empty if nothing.

    The means are over the timed phases, as in Reading.
    """

    quiet: bool | None
    disturbed_by: str = ""
    tolerated: str = ""
    foreign_percent: float | None = None
    steal_percent: float | None = None
    elsewhere_percent: float | None = None


def judge(
    readings: Sequence[Reading], place: Place, others: Sequence[Disturbance] = ()
) -> Quietness:
    """Of readings that know their phase. others: found by others, as on the task's GPUs."""
    timed = Stretch(readings, TIMED)
    foreign = foreign_percent(timed)
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
        quiet=False if flagged else None if foreign is None else True,
        disturbed_by="; ".join(flagged),
        tolerated="; ".join(stories(found, Weight.REPORTED)),
        foreign_percent=None if foreign is None else max(0.0, foreign),
        steal_percent=timed.mean(lambda reading: reading.steal_percent),
        elsewhere_percent=timed.mean(lambda reading: reading.elsewhere_percent),
    )
