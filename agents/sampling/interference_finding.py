"""Interference findings, their severity, and the phrases that name their kinds."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum


class Phrase(StrEnum):
    """Phrases of flagged texts. Reports classify stored texts by them, so they stay."""

    TASK_CORES = "its cores were used by others"
    OTHER_CORES = "other CPUs while it was timed"
    STEAL = "of its cores' time (steal)"
    CPU_PRESSURE = "some process waited for a CPU"
    CPU_CLOCK = "the clock of its cores fell"
    CPU_HEAT = "its cores were slowed down for heat"
    CPU_QUOTA = "the container's CPU limit stopped it"
    MEMORY_PRESSURE = "some process waited for memory"
    SWAP = "pages of memory came back from swap"
    GPU_PROCESSES = "others were on"
    GPU_BUSY = "busy before the task used it"
    GPU_THROTTLING = "was throttled by"
    GPU_CLOCK = "the SM clock of"
    GPU_LOSS = "was lost: it no longer answers its driver"
    CANARY = "the canary took"


class Severity(Enum):
    """FLAGGED: the timing is not interference-free. REPORTED: it may well be."""

    FLAGGED = "flagged"
    REPORTED = "reported"


@dataclass(frozen=True)
class InterferenceFinding:
    """text: what, how much, by whom and when; sanitized; no full stop."""

    text: str
    severity: Severity = Severity.FLAGGED


def select_texts(findings: Sequence[InterferenceFinding], severity: Severity) -> tuple[str, ...]:
    """List the distinct texts of one severity, in their order."""
    return tuple(dict.fromkeys(each.text for each in findings if each.severity is severity))
