"""How often we would have raised an alarm on a night when nothing had happened: A against A.

A cell's own nights, each as far from its stretch as it was, are dealt out anew as if all had been
of one level, and the last of them is judged like tonight. What is suspicious then is so by luck. It
is the rate before anything is measured again, so that of alarms is lower still.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.history.nights import PHASES, Point
from velodrome.scheduler.history.steps import MOST_NIGHTS, fit
from velodrome.scheduler.history.suspicions import FEWEST_CALM, RECENT, suspicion
from velodrome.scheduler.history.tonight import Verdict, Watched, having

MOST_DEALS = 200
MOST_JUDGED = 3000  # series, over all deals: a few seconds


@dataclass(frozen=True)
class FalseAlarms:
    """Of `nights` nights dealt anew, in how many some cell was suspicious. series: of each."""

    nights: int
    suspicious: int
    series: int

    @property
    def rate(self) -> float | None:
        return self.suspicious / self.nights if self.nights else None


def false_alarms(verdict: Verdict, seed: int = 0) -> FalseAlarms:
    """The same for the same nights and seed. No night, if no cell has history enough."""
    residuals = [found for found in _residuals(verdict) if len(found) >= FEWEST_CALM + RECENT]
    if not residuals:
        return FalseAlarms(0, 0, 0)
    nights = max(1, min(MOST_DEALS, MOST_JUDGED // len(residuals)))
    draw = random.Random(seed)
    suspicious = sum(_is_suspicious(residuals, verdict.rate, draw) for _ in range(nights))
    return FalseAlarms(nights, suspicious, len(residuals))


def _is_suspicious(residuals: Sequence[Sequence[float]], rate: float, draw: random.Random) -> bool:
    return any(suspicion(draw.sample(one, len(one)), 0, rate) is not None for one in residuals)


def _residuals(verdict: Verdict) -> list[list[float]]:
    """Of each cell and phase that may alarm; without the nights that are in question."""
    return [
        _around([point.levels[phase] for point in nights], verdict.rate)
        for one in verdict.watched
        if not one.quarantined
        for phase in PHASES
        if (nights := _unquestioned(one, phase))
    ]


def _unquestioned(one: Watched, phase: str) -> tuple[Point, ...]:
    nights = having(one.points, phase)
    onsets = [found.since.started_at for found in one.findings if found.phase == phase]
    return tuple(point for point in nights if not onsets or point.started_at < onsets[0])


def _around(levels: Sequence[float], rate: float) -> list[float]:
    levels = levels[-MOST_NIGHTS:]
    return [
        level - stretch.level
        for stretch in fit(levels, rate).stretches
        for level in levels[stretch.start : stretch.end]
    ]
