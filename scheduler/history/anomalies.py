"""Detection of steps in a cell's latest nightly runs.

Three tests, each at a third of the requested false-positive rate:

- the last one, two and three runs against the stretch before them, by Student's t for the mean of k
  new values, with the spread of the runs before the last three;
- the changepoint of velodrome.scheduler.history.changepoints over all runs, for slow changes;
- the first runs of a series against all later ones, for which the changepoint test is too cautious:
  the largest t over the possible onsets (K. J. Worsley, On the likelihood ratio test for a shift in
  location of normal populations, JASA 74 (1979) 365-367).

Standard errors allow for the autocorrelation of runs (velodrome.scheduler.history.autocorrelation);
the error of an unstable run's own repeats is added. Of several suspicions, the one whose step
explains the runs best is reported.

A step that a second measurement confirms becomes the level with which later runs are compared. A
step in the same direction is reported again only if it has grown by as much again, or if the new
part is too sharp for the slope since: else it is the same creep.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

from velodrome.scheduler.history.autocorrelation import NONE, Dependence
from velodrome.scheduler.history.changepoints import (
    FEWEST,
    MOST_NIGHTS,
    Fit,
    contrast_factor,
    fit,
    quantile,
    spread_around,
)
from velodrome.scheduler.history.variance_pooling import NO_PRIOR, Prior
from velodrome.scheduler.statistics.ratio_tests import LEAST

RECENT = 3  # nights
FEWEST_CALM = 5  # nights before them: fewer have no spread to speak of
OLDEST_NEWS = 30  # nights: what is older is shown, but no news
TELLS_AGAIN = 20  # times the rate at which a suspicion of an earlier night is recognized
NEAR = 2  # nights: the same step, seen with more of them, may move by so many
LOOKS = 3
FIRST_ONSETS = range(FEWEST, FEWEST_CALM)


@dataclass(frozen=True)
class Suspicion:
    """A suspected step: levels (logarithms of ns) before and since run `onset` of the series.

    compared: indices of the runs before, from and to.
    """

    onset: int
    before: float
    now: float
    compared: tuple[int, int]

    @property
    def ratio(self) -> float:
        """Above 1: slower."""
        return math.exp(self.now - self.before)

    @property
    def way(self) -> float:
        """1: slower, -1: faster."""
        return math.copysign(1, self.now - self.before)

    def is_confirmed_by(self, again: float) -> bool:
        """Return True if a new level is at least half of the way from before to now."""
        return (again - self.before) / (self.now - self.before) >= 0.5

    def later(self, nights: int) -> "Suspicion":
        """Shift the indices for a series that begins so many runs earlier."""
        compared = (self.compared[0] + nights, self.compared[1] + nights)
        return replace(self, onset=self.onset + nights, compared=compared)


@dataclass(frozen=True)
class Known:
    """The last reported step: its run, the level at the report, and its size; size 0: none."""

    onset: int = 0
    level: float = 0.0
    size: float = 0.0

    def covers(self, seen: Suspicion) -> bool:
        """Return True if it goes the same way, and not by as much again."""
        gone_on = (seen.now - self.level) * math.copysign(1, self.size)
        is_same_way = (seen.now - seen.before) * self.size > 0
        return is_same_way and gone_on < abs(self.size)


NOTHING_KNOWN = Known()


@dataclass(frozen=True)
class Series:
    """One phase of a cell over the runs that have it, oldest first. Logarithms of ns.

    levels: over all repeats of a run; first: without confirming repeats; again: of those alone.
    errors: standard deviations that the repeats leave open. nights: the place of each among all of
    the cell's runs. dependence: their autocorrelation. prior: how much other cells vary.
    """

    levels: tuple[float, ...]
    first: tuple[float, ...]
    again: tuple[float | None, ...]
    errors: tuple[float, ...]
    nights: tuple[int, ...]
    dependence: Dependence = NONE
    prior: Prior = NO_PRIOR

    def nights_again(self) -> tuple[int, ...]:
        """Return the runs with confirming repeats, by their place among the cell's."""
        pairs = zip(self.nights, self.again, strict=True)
        return tuple(night for night, again in pairs if again is not None)

    def until(self, night: int) -> "View":
        """Return what was known when that run was measured, before its confirmation."""
        start = max(0, night + 1 - MOST_NIGHTS)
        levels = (*self.levels[start:night], self.first[night])
        errors = self.errors[start : night + 1]
        return View(levels, errors, self.dependence, self.prior, start)


@dataclass(frozen=True)
class View:
    """Levels and errors of some runs of a series, the first of them its run `start`."""

    levels: Sequence[float]
    errors: Sequence[float]
    dependence: Dependence = NONE
    prior: Prior = NO_PRIOR
    start: int = 0

    def fit(self, rate: float, without: int = 0) -> Fit:
        """Fit stretches, without the last `without` runs. rate: of a false cut."""
        levels = self.levels[: len(self.levels) - without]
        return fit(levels, rate, self.dependence, self.prior)


def known_steps(serial: Mapping[str, Series], rate: float) -> dict[str, Known]:
    """Return by phase the last confirmed step.

    A phase that moved with a confirmed one is known with it. The last run is not included: it is
    the one in question.
    """
    known = dict.fromkeys(serial, NOTHING_KNOWN)
    tonight = max((one.nights[-1] for one in serial.values()), default=0)
    for night in sorted({night for one in serial.values() for night in one.nights_again()}):
        if night < tonight:
            known |= _told_on(night, serial, known, rate)
    return known


def _told_on(
    night: int, serial: Mapping[str, Series], known: Mapping[str, Known], rate: float
) -> dict[str, Known]:
    told = {
        phase: step
        for phase, one in serial.items()
        if night in one.nights_again() and (step := _confirmed(one, night, known[phase], rate))
    }
    if not told:
        return {}
    first, step = max(told.items(), key=lambda pair: abs(pair[1].size))
    since = serial[first].nights[step.onset]
    besides = {
        phase: moved
        for phase, one in serial.items()
        if phase not in told and (moved := _along(one, night, since, known[phase], step.size))
    }
    return told | besides


def _confirmed(series: Series, night: int, known: Known, rate: float) -> Known | None:
    at = series.nights.index(night)
    view, again = series.until(at), series.again[at]
    # Nights that came later change a little what they are held to, so it need not be so rare now.
    recognized = min(0.5, TELLS_AGAIN * rate)
    seen = suspicion(view, known, rate) or suspicion(view, known, recognized)
    if again is None or seen is None or not seen.is_confirmed_by(again):
        return None
    # Of a creep the mean since its onset lags behind the night on which it was told.
    level = max(seen.now, series.levels[at], key=lambda level: (level - seen.before) * seen.way)
    return Known(seen.onset, level, level - seen.before)


def _along(series: Series, night: int, since: int, known: Known, size: float) -> Known | None:
    """Return the step of a phase that moved the same way, at least half as far."""
    onset, end = bisect_left(series.nights, since), bisect_right(series.nights, night)
    before = series.levels[known.onset : onset][-OLDEST_NEWS:]
    after = series.levels[onset:end]
    if not before or not after:
        return None
    way = math.copysign(1, size)
    moved = way * max(way * (level - fmean(before)) for level in (fmean(after), after[-1]))
    return Known(onset, fmean(before) + moved, moved) if moved / size >= 0.5 else None


def suspicion(view: View, known: Known, rate: float) -> Suspicion | None:
    """Test the last runs for a step. known: the last confirmed step, an index of the series."""
    if len(view.levels) < FEWEST_CALM + RECENT:
        return None
    known = replace(known, onset=max(0, known.onset - view.start))
    calm = view.fit(rate / LOOKS, RECENT)
    looks = (_of_recent_nights, _of_all_nights, _of_first_nights)
    found = [seen for look in looks for seen in look(view, known, calm, rate / LOOKS)]
    if not found:
        return None
    start = min(seen.compared[0] for seen in found)
    best = min(found, key=lambda seen: _left_over(view.levels[start:], seen.onset - start))
    return best.later(view.start)


def _left_over(levels: Sequence[float], onset: int) -> float:
    """Sum the squares around a level before `onset` and one since."""
    sides = (levels[:onset], levels[onset:])
    return math.fsum((level - fmean(side)) ** 2 for side in sides for level in side)


def _of_recent_nights(view: View, known: Known, calm: Fit, rate: float) -> Iterator[Suspicion]:
    start = max(calm.last.start, known.onset)
    beyond = quantile(rate / RECENT, calm.degrees)
    for onset in range(max(start + 1, len(view.levels) - RECENT), len(view.levels)):
        seen = _step_at(view, start, onset)
        is_far = _distance(view, seen, calm.spread) > beyond
        if is_far and is_large(seen) and _is_news(view, known, seen, calm, rate):
            yield seen


def _of_all_nights(view: View, known: Known, calm: Fit, rate: float) -> Iterator[Suspicion]:
    whole = view.fit(rate)
    beyond = quantile(rate / (len(view.levels) - 1), whole.degrees)
    for before, since in pairwise(whole.stretches[-2:]):
        seen = Suspicion(since.start, before.level, since.level, (before.start, before.end))
        is_new = since.start > known.onset + NEAR if known.size else True
        # Measuring again cannot tell whether it was the nights before that were odd.
        is_known_before = before.nights >= FEWEST_CALM
        is_far = _distance(view, seen, whole.spread) > beyond
        is_young = since.nights <= OLDEST_NEWS
        claims = (is_new, is_known_before, is_far, is_young, is_large(seen))
        if all(claims) and _is_news(view, known, seen, calm, rate):
            yield seen


def _of_first_nights(view: View, known: Known, calm: Fit, rate: float) -> Iterator[Suspicion]:
    if known.size or view.start or len(view.levels) > FEWEST_CALM + OLDEST_NEWS:
        return
    share = rate / len(FIRST_ONSETS)
    distance, seen = max((_first_step(view, onset, share) for onset in FIRST_ONSETS), key=_first)
    if distance > 1 and is_large(seen):
        yield seen


def _first_step(view: View, onset: int, rate: float) -> tuple[float, Suspicion]:
    """Return a step and its distance over the threshold, by the spread around both sides."""
    seen = _step_at(view, 0, onset)
    own = spread_around(view.levels, (onset, len(view.levels)), view.dependence)
    spread, degrees = view.prior.moderated(*own)
    return _distance(view, seen, spread) / quantile(rate, degrees), seen


def _first(pair: tuple[float, Suspicion]) -> float:
    return pair[0]


def _step_at(view: View, start: int, onset: int) -> Suspicion:
    before, now = fmean(view.levels[start:onset]), fmean(view.levels[onset:])
    return Suspicion(onset, before, now, (start, onset))


def _distance(view: View, seen: Suspicion, spread: float) -> float:
    """Return the standard errors between the runs since and those before."""
    start, onset = seen.compared
    before, since = onset - start, len(view.levels) - onset
    weights = (*[-1 / before] * before, *[1 / since] * since)
    return abs(seen.now - seen.before) / standard_error(view, weights, spread)


def standard_error(view: View, weights: Sequence[float], spread: float) -> float:
    """Compute the standard error of a weighted sum of the last runs."""
    errors = view.errors[len(view.errors) - len(weights) :]
    open_ = math.fsum((weight * one) ** 2 for weight, one in zip(weights, errors, strict=True))
    return math.hypot(spread * contrast_factor(weights, view.dependence), math.sqrt(open_))


def _is_news(view: View, known: Known, seen: Suspicion, calm: Fit, rate: float) -> bool:
    return not known.covers(seen) or _is_sharp(view, known, seen, calm, rate)


def _is_sharp(view: View, known: Known, seen: Suspicion, calm: Fit, rate: float) -> bool:
    """Return True for a step on top of the slope since the last confirmed step."""
    if seen.onset - known.onset < FEWEST_CALM:
        return False
    import numpy as np

    levels = np.asarray(view.levels[known.onset :])
    nights = np.arange(len(levels))
    is_since = nights >= seen.onset - known.onset
    design = np.column_stack([np.ones(len(levels)), nights, is_since])
    weights = np.linalg.pinv(design)[-1]
    step = float(weights @ levels) * math.copysign(1, known.size)
    error = standard_error(view, weights.tolist(), calm.spread)
    return step > max(quantile(rate / RECENT, calm.degrees) * error, math.log1p(LEAST))


def is_large(seen: Suspicion) -> bool:
    """Return True if the step exceeds the practical minimum."""
    return abs(seen.now - seen.before) >= math.log1p(LEAST)
