"""The false-alarm rate of a history, estimated by resampling: A against A.

A cell's own runs, as residuals around their stretches, are resampled as if all had one level, and
the last one is judged like the latest run. Every suspicion is then a false one. This is the rate
before confirmation, so that of alarms is lower.

Autocorrelated runs are resampled in blocks as long as their correlation lasts, from a random start
(H. R. Kunsch, The jackknife and the bootstrap for general stationary observations, Annals of
Statistics 17 (1989) 1217-1241), but each block once.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.history.anomalies import (
    FEWEST_CALM,
    NOTHING_KNOWN,
    RECENT,
    View,
    suspicion,
)
from velodrome.scheduler.history.autocorrelation import Dependence
from velodrome.scheduler.history.cell_series import Point
from velodrome.scheduler.history.changepoints import MOST_NIGHTS, fit
from velodrome.scheduler.history.latest_run import RunVerdict, Watched, having
from velodrome.scheduler.history.variance_pooling import Prior

MOST_DEALS = 200
MOST_JUDGED = 3000  # series, over all deals: a few seconds
FEWEST_BLOCKS = 4  # fewer would be the past itself


@dataclass(frozen=True)
class FalseAlarms:
    """Counts of resampled histories: with any suspicion, and in all. series: in each.

    block: the length of the longest blocks, in runs.
    """

    nights: int
    suspicious: int
    series: int
    block: int = 1

    @property
    def rate(self) -> float | None:
        return self.suspicious / self.nights if self.nights else None


@dataclass(frozen=True)
class Past:
    """Residuals of a series around its stretches, with the errors of its runs."""

    residuals: Sequence[float]
    errors: Sequence[float]
    dependence: Dependence
    prior: Prior

    @property
    def block(self) -> int:
        return max(1, min(self.dependence.memory, len(self.residuals) // FEWEST_BLOCKS))


def false_alarms(verdict: RunVerdict, seed: int = 0) -> FalseAlarms:
    """Estimate the rate; deterministic for a seed. No runs if no cell has enough history."""
    pasts = [found for found in _pasts(verdict) if len(found.residuals) >= FEWEST_CALM + RECENT]
    if not pasts:
        return FalseAlarms(0, 0, 0)
    nights = max(1, min(MOST_DEALS, MOST_JUDGED // len(pasts)))
    draw = random.Random(seed)
    suspicious = sum(_is_suspicious(pasts, verdict.rate, draw) for _ in range(nights))
    return FalseAlarms(nights, suspicious, len(pasts), max(one.block for one in pasts))


def _is_suspicious(pasts: Sequence[Past], rate: float, draw: random.Random) -> bool:
    return any(suspicion(_dealt(one, draw), NOTHING_KNOWN, rate) is not None for one in pasts)


def _dealt(past: Past, draw: random.Random) -> View:
    order = in_blocks(len(past.residuals), past.block, draw)
    levels = [past.residuals[night] for night in order]
    return View(levels, [past.errors[night] for night in order], past.dependence, past.prior)


def in_blocks(nights: int, block: int, draw: random.Random) -> list[int]:
    """Shuffle run numbers in blocks of neighbours, from a random start."""
    first = draw.randrange(nights)
    turned = [(first + night) % nights for night in range(nights)]
    blocks = [turned[start : start + block] for start in range(0, nights, block)]
    draw.shuffle(blocks)
    return [night for one in blocks for night in one]


def _pasts(verdict: RunVerdict) -> list[Past]:
    """Return residuals of each cell and phase, without the runs in question."""
    return [
        _past(one, phase, len(nights), verdict.rate)
        for one in verdict.watched
        for phase in one.series
        if (nights := _unquestioned(one, phase))
    ]


def _unquestioned(one: Watched, phase: str) -> tuple[Point, ...]:
    nights = having(one.points, phase)
    onsets = [found.since.started_at for found in one.findings if found.phase == phase]
    return tuple(point for point in nights if not onsets or point.started_at < onsets[0])


def _past(one: Watched, phase: str, nights: int, rate: float) -> Past:
    series = one.series[phase]
    levels = series.levels[:nights][-MOST_NIGHTS:]
    around = [
        level - stretch.level
        for stretch in fit(levels, rate, series.dependence, series.prior).stretches
        for level in levels[stretch.start : stretch.end]
    ]
    return Past(around, series.errors[:nights][-MOST_NIGHTS:], series.dependence, series.prior)
