"""What may have disturbed a measurement, as whoever found it says it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Weight(Enum):
    """FLAGGED: the numbers are not those of a quiet machine. REPORTED: they may well be."""

    FLAGGED = "flagged"
    REPORTED = "reported"


@dataclass(frozen=True)
class Disturbance:
    """story: what, how much, by whom and when, in words that are safe to show; no full stop."""

    story: str
    weight: Weight = Weight.FLAGGED


def stories(disturbances: Sequence[Disturbance], weight: Weight) -> tuple[str, ...]:
    """Of one weight, each once, in their order."""
    return tuple(dict.fromkeys(each.story for each in disturbances if each.weight is weight))
