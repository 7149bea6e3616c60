"""Interference findings and their severity."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """FLAGGED: the timing is not interference-free. REPORTED: it may well be."""

    FLAGGED = "flagged"
    REPORTED = "reported"


@dataclass(frozen=True)
class InterferenceFinding:
    """text: what, how much, by whom and when; sanitized; no full stop."""

    text: str
    severity: Severity = Severity.FLAGGED


def texts_of(disturbances: Sequence[InterferenceFinding], weight: Severity) -> tuple[str, ...]:
    """List the distinct texts of one severity, in their order."""
    return tuple(dict.fromkeys(each.text for each in disturbances if each.severity is weight))
