"""The summary of all interference while a task was timed."""

from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.agents.measurement import Reading
from velodrome.agents.sampling.background_load import (
    CpuCounts,
    find_core_interference,
    find_other_core_interference,
    find_steal,
    other_cpu_percent,
)
from velodrome.agents.sampling.core_slowdowns import find_cpu_pressure, find_slowdowns
from velodrome.agents.sampling.interference_finding import (
    InterferenceFinding,
    Severity,
    select_texts,
)
from velodrome.agents.sampling.windows import PhaseReadings


@dataclass(frozen=True)
class InterferenceSummary:
    """Interference above its bounds, and minor interference; each empty if none.

    interference_free None: unknown. Bounds: velodrome.agents.sampling.interference_thresholds.
    Means are over the timed phases, as in Reading.
    """

    interference_free: bool | None
    interference: str = ""
    minor_interference: str = ""
    other_cpu_percent: float | None = None
    steal_percent: float | None = None
    other_cores_percent: float | None = None


def summarize_interference(
    readings: Sequence[Reading], cpus: CpuCounts, on_gpus: Sequence[InterferenceFinding] = ()
) -> InterferenceSummary:
    """Summarize readings with known phases. on_gpus: findings on the task's GPUs."""
    timed = PhaseReadings(readings, TIMED_PHASES)
    others_percent = other_cpu_percent(timed)
    findings = [
        *find_core_interference(readings, cpus),
        *find_other_core_interference(readings, cpus),
        *find_steal(readings),
        *find_slowdowns(readings, cpus.task_cpus),
        *find_cpu_pressure(
            readings, Severity.FLAGGED if others_percent is None else Severity.REPORTED
        ),
        *on_gpus,
    ]
    flagged = select_texts(findings, Severity.FLAGGED)
    return InterferenceSummary(
        interference_free=False if flagged else None if others_percent is None else True,
        interference="; ".join(flagged),
        minor_interference="; ".join(select_texts(findings, Severity.REPORTED)),
        other_cpu_percent=None if others_percent is None else max(0.0, others_percent),
        steal_percent=timed.mean(lambda reading: reading.steal_percent),
        other_cores_percent=timed.mean(lambda reading: reading.other_cores_percent),
    )
