"""What one check found: a verdict, what was seen, why it matters, and what mends it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """UNKNOWN: the system does not say. It is no warning, and no proof of anything either."""

    WARNING = "warning"
    UNKNOWN = "unknown"
    FINE = "fine"


@dataclass(frozen=True)
class Finding:
    """mend: the command or setting that helps; empty if there is nothing to mend."""

    check: str
    verdict: Verdict
    seen: str
    why: str
    mend: str = ""


@dataclass(frozen=True)
class Subject:
    """What a check looks at. why: one sentence, whatever the verdict."""

    check: str
    why: str

    def fine(self, seen: str) -> Finding:
        return Finding(self.check, Verdict.FINE, seen, self.why)

    def warning(self, seen: str, mend: str) -> Finding:
        return Finding(self.check, Verdict.WARNING, seen, self.why, mend)

    def unknown(self, seen: str) -> Finding:
        return Finding(self.check, Verdict.UNKNOWN, seen, self.why)


def counted(values: list[str]) -> str:
    """Distinct values with how often each is there, as in `3 x powersave, 1 x performance`.

    One that all share stands alone.
    """
    distinct = dict.fromkeys(values)
    if len(distinct) == 1:
        return values[0]
    return ", ".join(f"{values.count(value)} x {value}" for value in distinct)


def listed(names: list[str], most: int = 4) -> str:
    """The first ones, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
