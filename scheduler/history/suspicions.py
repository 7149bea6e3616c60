"""Whether a cell's latest nights lie off what they used to, and since when.

Two looks, each at half of the rate of false suspicions that is asked for:

- the last one, two and three nights against the stretch before them, by Student's t for the mean of
  k new values, with the spread of a night as the nights before the last three have it;
- the cut of velodrome.scheduler.history.steps over all nights, which sees what comes slowly.

What was measured again and stayed off is known; from then on it is what later nights are held to.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from velodrome.scheduler.history.steps import MOST_NIGHTS, Fit, fit, quantile
from velodrome.scheduler.statistics.comparing import LEAST

RECENT = 3  # nights
FEWEST_CALM = 5  # nights before them: fewer have no spread to speak of
OLDEST_NEWS = 30  # nights: what is older is shown, but no news
TELLS_AGAIN = 20  # times the rate at which a suspicion of an earlier night is recognized
NEAR = 2  # nights: the same step, seen with more of them, may move by so many


@dataclass(frozen=True)
class Suspicion:
    """Levels (logarithms of ns) before and since night `onset`, an index of the series.

    compared: indices of the nights before, from and to.
    """

    onset: int
    before: float
    now: float
    compared: tuple[int, int]

    @property
    def ratio(self) -> float:
        """Above 1: slower."""
        return math.exp(self.now - self.before)

    def is_confirmed_by(self, again: float) -> bool:
        """A level measured once more, at least half of the way from before to now."""
        return (again - self.before) / (self.now - self.before) >= 0.5


@dataclass(frozen=True)
class Series:
    """One phase of a cell over the nights that have it, oldest first. Logarithms of ns.

    levels: over all repeats of a night; first: without those that confirm; again: of those alone.
    """

    levels: tuple[float, ...]
    first: tuple[float, ...]
    again: tuple[float | None, ...]

    def until(self, night: int) -> tuple[float, ...]:
        """What was known when that night had been measured, but nothing again yet."""
        start = max(0, night + 1 - MOST_NIGHTS)
        return (*self.levels[start:night], self.first[night])


def latest(series: Series, rate: float) -> Suspicion | None:
    """Of the last night. rate: of false suspicions of a series in which nothing happens."""
    last = len(series.levels) - 1
    return _at(series, last, known_onset(series, rate), rate)


def known_onset(series: Series, rate: float) -> int:
    """Since which night the level is what it was last confirmed to be; 0: it never stepped.

    The last night is not looked at: what it shows is what is asked.
    """
    onset = 0
    for night, again in enumerate(series.again[:-1]):
        if again is not None:
            seen = _at(series, night, onset, min(0.5, TELLS_AGAIN * rate))
            onset = seen.onset if seen and seen.is_confirmed_by(again) else onset
    return onset


def _at(series: Series, night: int, known: int, rate: float) -> Suspicion | None:
    levels = series.until(night)
    skipped = night + 1 - len(levels)
    found = suspicion(levels, max(0, known - skipped), rate)
    if found is None or not skipped:
        return found
    compared = (found.compared[0] + skipped, found.compared[1] + skipped)
    return Suspicion(found.onset + skipped, found.before, found.now, compared)


def suspicion(levels: Sequence[float], known: int, rate: float) -> Suspicion | None:
    """known: the night at which the last step that was told of began."""
    if len(levels) < FEWEST_CALM + RECENT:
        return None
    return _of_recent_nights(levels, known, rate / 2) or _of_all_nights(levels, known, rate / 2)


def _of_recent_nights(levels: Sequence[float], known: int, rate: float) -> Suspicion | None:
    calm = fit(levels[:-RECENT], rate)
    start = max(calm.last.start, known)
    found = [
        (distance, seen)
        for nights in range(1, RECENT + 1)
        if len(levels) - nights > start
        for distance, seen in [_recent(levels, start, nights, calm)]
        if distance > quantile(rate / RECENT, calm.degrees) and is_large(seen)
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _recent(levels: Sequence[float], start: int, nights: int, calm: Fit) -> tuple[float, Suspicion]:
    """The last nights against those before, and how many standard errors they are away."""
    onset = len(levels) - nights
    before, now = fmean(levels[start:onset]), fmean(levels[onset:])
    error = calm.spread * math.sqrt(1 / nights + 1 / (onset - start))
    return abs(now - before) / error, Suspicion(onset, before, now, (start, onset))


def _of_all_nights(levels: Sequence[float], known: int, rate: float) -> Suspicion | None:
    stretches = fit(levels, rate).stretches
    for before, since in pairwise(stretches[-2:]):
        seen = Suspicion(since.start, before.level, since.level, (before.start, before.end))
        is_news = since.start > known + NEAR if known else True
        # Measuring again cannot tell whether it was the nights before that were odd.
        is_known_before = before.nights >= FEWEST_CALM
        if is_news and is_known_before and since.nights <= OLDEST_NEWS and is_large(seen):
            return seen
    return None


def is_large(seen: Suspicion) -> bool:
    """Whether anybody would care."""
    return abs(seen.now - seen.before) >= math.log1p(LEAST)
