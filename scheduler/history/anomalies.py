"""Detection of steps in a cell's latest nightly runs.

Three tests, each at a third of the requested false-positive rate:

- the last one, two and three runs against the segment before them, by Student's t for the mean of k
  new values, with the spread of the runs before the last three;
- the changepoint of velodrome.scheduler.history.changepoints over all runs, for slow changes;
- the first runs of a series against all later ones, for which the changepoint test is too cautious:
  the largest t over the possible onsets (K. J. Worsley, On the likelihood ratio test for a shift in
  location of normal populations, JASA 74 (1979) 365-367).

Standard errors allow for the autocorrelation of runs (velodrome.scheduler.history.autocorrelation);
the error of an unstable run's own repeats is added. Of several suspected steps, the one that
explains the runs best is reported.

A step that a second measurement confirms becomes the level with which later runs are compared. A
step in the same direction is reported again only if it has grown by as much again, or if the new
part is too sharp for the slope since: else it is the same slow drift.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

from velodrome.scheduler.history.changepoints import FEWEST, Segmentation, compute_quantile
from velodrome.scheduler.history.phase_series import Series, Window
from velodrome.scheduler.statistics.ratio_tests import LEAST

RECENT = 3  # runs
FEWEST_BASELINE = 5  # runs before them: the spread of fewer is too uncertain
OLDEST_REPORTED = 30  # runs: an older step is shown, but not reported
RECHECK_FACTOR = 20  # on the false-positive rate, to find the suspected step of an earlier run
ONSET_TOLERANCE = 2  # runs: as more runs follow, the estimated onset of a step may move this far
TESTS = 3
EARLY_ONSETS = range(FEWEST, FEWEST_BASELINE)


@dataclass(frozen=True)
class SuspectedStep:
    """A suspected step: levels (logarithms of ns) before and since run `onset` of the series.

    compared: indices of the runs before, from and to.
    """

    onset: int
    before: float
    now: float
    compared: tuple[int, int]

    @property
    def size(self) -> float:
        return self.now - self.before

    @property
    def ratio(self) -> float:
        """Above 1: slower."""
        return math.exp(self.size)

    @property
    def is_large(self) -> bool:
        """True if the step exceeds the practical minimum."""
        return abs(self.size) >= math.log1p(LEAST)

    def is_confirmed_by(self, level: float) -> bool:
        """Return True if a new level is at least half of the way from before to now."""
        return (level - self.before) / self.size >= 0.5

    def shift(self, runs: int) -> "SuspectedStep":
        """Shift the indices for a series that begins so many runs earlier."""
        compared = (self.compared[0] + runs, self.compared[1] + runs)
        return replace(self, onset=self.onset + runs, compared=compared)


@dataclass(frozen=True)
class ConfirmedStep:
    """The last reported step: its run, the level at the report, and its size; size 0: none."""

    onset: int = 0
    level: float = 0.0
    size: float = 0.0

    def covers(self, step: SuspectedStep) -> bool:
        """Return True if a step has the same direction and is not as large again."""
        growth = (step.now - self.level) * math.copysign(1, self.size)
        return step.size * self.size > 0 and growth < abs(self.size)


NO_STEP = ConfirmedStep()


def find_confirmed_steps(
    series_by_phase: Mapping[str, Series], rate: float
) -> dict[str, ConfirmedStep]:
    """Find the last confirmed step of each phase, without the latest run, which is judged.

    A phase that moved together with a confirmed one counts as reported with it.
    """
    steps = dict.fromkeys(series_by_phase, NO_STEP)
    every = series_by_phase.values()
    latest = max((series.runs[-1] for series in every), default=0)
    for run in sorted({run for series in every for run in series.remeasured_runs()}):
        if run < latest:
            steps |= _find_steps_of_run(run, series_by_phase, steps, rate)
    return steps


def _find_steps_of_run(
    run: int, series_by_phase: Mapping[str, Series], last: Mapping[str, ConfirmedStep], rate: float
) -> dict[str, ConfirmedStep]:
    confirmed = {
        phase: step
        for phase, series in series_by_phase.items()
        if run in series.remeasured_runs() and (step := _confirm(series, run, last[phase], rate))
    }
    if not confirmed:
        return {}
    first, step = max(confirmed.items(), key=lambda pair: abs(pair[1].size))
    since = series_by_phase[first].runs[step.onset]
    accompanying = {
        phase: moved
        for phase, series in series_by_phase.items()
        if phase not in confirmed
        and (moved := _find_accompanying(series, run, since, last[phase], step.size))
    }
    return confirmed | accompanying


def _confirm(series: Series, run: int, last: ConfirmedStep, rate: float) -> ConfirmedStep | None:
    index = series.runs.index(run)
    window, again = series.window_until(index), series.confirming[index]
    # Later runs change the estimates for earlier ones a little: a higher rate finds the same step.
    step = detect_step(window, last, rate)
    step = step or detect_step(window, last, min(0.5, RECHECK_FACTOR * rate))
    if again is None or step is None or not step.is_confirmed_by(again):
        return None
    # In a slow drift, the mean since the onset lags behind the level of the run that reported it.
    size = max(step.size, series.levels[index] - step.before, key=lambda one: one / step.size)
    return ConfirmedStep(step.onset, step.before + size, size)


def _find_accompanying(
    series: Series, run: int, since: int, last: ConfirmedStep, size: float
) -> ConfirmedStep | None:
    """Find the step of a phase that moved in the same direction, at least half as far."""
    onset, end = bisect_left(series.runs, since), bisect_right(series.runs, run)
    before = series.levels[last.onset : onset][-OLDEST_REPORTED:]
    after = series.levels[onset:end]
    if not before or not after:
        return None
    moved = max((fmean(after), after[-1]), key=lambda level: level * size) - fmean(before)
    return ConfirmedStep(onset, fmean(before) + moved, moved) if moved / size >= 0.5 else None


def detect_step(window: Window, last: ConfirmedStep, rate: float) -> SuspectedStep | None:
    """Test the latest runs for a step. last: the last confirmed step, an index of the series."""
    if len(window.levels) < FEWEST_BASELINE + RECENT:
        return None
    last = replace(last, onset=max(0, last.onset - window.start))
    baseline = window.fit_segments(rate / TESTS, RECENT)
    tests = (_test_recent_runs, _test_all_runs, _test_first_runs)
    steps = [step for test in tests for step in test(window, last, baseline, rate / TESTS)]
    if not steps:
        return None
    start = min(step.compared[0] for step in steps)
    best = min(steps, key=lambda step: _sum_squares(window.levels[start:], step.onset - start))
    return best.shift(window.start)


def _sum_squares(levels: Sequence[float], onset: int) -> float:
    """Sum the squares around a level before `onset` and one since."""
    sides = (levels[:onset], levels[onset:])
    return math.fsum((level - fmean(side)) ** 2 for side in sides for level in side)


def _test_recent_runs(
    window: Window, last: ConfirmedStep, baseline: Segmentation, rate: float
) -> Iterator[SuspectedStep]:
    start = max(baseline.last.start, last.onset)
    threshold = compute_quantile(rate / RECENT, baseline.degrees)
    for onset in range(max(start + 1, len(window.levels) - RECENT), len(window.levels)):
        step = _make_step(window, start, onset)
        is_far = _compute_t(window, step, baseline.spread) > threshold
        if is_far and step.is_large and _is_new(window, last, step, baseline, rate):
            yield step


def _test_all_runs(
    window: Window, last: ConfirmedStep, baseline: Segmentation, rate: float
) -> Iterator[SuspectedStep]:
    whole = window.fit_segments(rate)
    threshold = compute_quantile(rate / (len(window.levels) - 1), whole.degrees)
    for before, since in pairwise(whole.segments[-2:]):
        step = SuspectedStep(since.start, before.level, since.level, (before.start, before.end))
        claims = (
            since.start > last.onset + ONSET_TOLERANCE if last.size else True,
            # Measuring again does not show if the runs before the step were the unusual ones.
            before.runs >= FEWEST_BASELINE,
            _compute_t(window, step, whole.spread) > threshold,
            since.runs <= OLDEST_REPORTED,
            step.is_large,
        )
        if all(claims) and _is_new(window, last, step, baseline, rate):
            yield step


def _test_first_runs(
    window: Window, last: ConfirmedStep, baseline: Segmentation, rate: float
) -> Iterator[SuspectedStep]:
    if last.size or window.start or len(window.levels) > FEWEST_BASELINE + OLDEST_REPORTED:
        return
    share = rate / len(EARLY_ONSETS)
    steps = [_test_early_onset(window, onset, share) for onset in EARLY_ONSETS]
    excess, step = max(steps, key=lambda pair: pair[0])
    if excess > 1 and step.is_large:
        yield step


def _test_early_onset(window: Window, onset: int, rate: float) -> tuple[float, SuspectedStep]:
    """Return t over its threshold, and the step; the spread is that around both sides."""
    step = _make_step(window, 0, onset)
    spread, degrees = window.estimate_spread(onset)
    return _compute_t(window, step, spread) / compute_quantile(rate, degrees), step


def _make_step(window: Window, start: int, onset: int) -> SuspectedStep:
    before, now = fmean(window.levels[start:onset]), fmean(window.levels[onset:])
    return SuspectedStep(onset, before, now, (start, onset))


def _compute_t(window: Window, step: SuspectedStep, spread: float) -> float:
    """Compute the distance between the runs since and those before, in standard errors."""
    start, onset = step.compared
    before, since = onset - start, len(window.levels) - onset
    weights = (*[-1 / before] * before, *[1 / since] * since)
    return abs(step.size) / window.compute_standard_error(weights, spread)


def _is_new(
    window: Window, last: ConfirmedStep, step: SuspectedStep, baseline: Segmentation, rate: float
) -> bool:
    """Return True if the last confirmed step does not cover this one, or it is a sharp step."""
    return not last.covers(step) or _is_sharp(window, last, step, baseline, rate)


def _is_sharp(
    window: Window, last: ConfirmedStep, step: SuspectedStep, baseline: Segmentation, rate: float
) -> bool:
    """Return True for a step on top of the slope since the last confirmed step."""
    if step.onset - last.onset < FEWEST_BASELINE:
        return False
    import numpy as np

    levels = np.asarray(window.levels[last.onset :])
    runs = np.arange(len(levels))
    is_since = runs >= step.onset - last.onset
    design = np.column_stack([np.ones(len(levels)), runs, is_since])
    weights = np.linalg.pinv(design)[-1]
    size = float(weights @ levels) * math.copysign(1, last.size)
    error = window.compute_standard_error(weights.tolist(), baseline.spread)
    return size > max(compute_quantile(rate / RECENT, baseline.degrees) * error, math.log1p(LEAST))
