"""A doctor finding: its level, the observation, why it matters, and a fix."""

from dataclasses import dataclass
from enum import StrEnum


class FindingLevel(StrEnum):
    """UNKNOWN: the system does not state it; neither a warning nor a proof."""

    WARNING = "warning"
    UNKNOWN = "unknown"
    FINE = "fine"


@dataclass(frozen=True)
class DoctorFinding:
    """The result of one check. mend: the command or setting that fixes it; empty if not needed."""

    check: str
    verdict: FindingLevel
    seen: str
    why: str
    mend: str = ""


@dataclass(frozen=True)
class Subject:
    """The subject of a check. why: one sentence, at any level."""

    check: str
    why: str

    def fine(self, seen: str) -> DoctorFinding:
        return DoctorFinding(self.check, FindingLevel.FINE, seen, self.why)

    def warning(self, seen: str, mend: str) -> DoctorFinding:
        return DoctorFinding(self.check, FindingLevel.WARNING, seen, self.why, mend)

    def unknown(self, seen: str) -> DoctorFinding:
        return DoctorFinding(self.check, FindingLevel.UNKNOWN, seen, self.why)


def count_values(values: list[str]) -> str:
    """Count distinct values: `3 x powersave, 1 x performance`.

    A value that all share appears alone.
    """
    distinct = dict.fromkeys(values)
    if len(distinct) == 1:
        return values[0]
    return ", ".join(f"{values.count(value)} x {value}" for value in distinct)


def join_names(names: list[str], most: int = 4) -> str:
    """Join the first names, with the number of the rest."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
