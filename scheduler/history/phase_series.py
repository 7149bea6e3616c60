"""The series of one phase of a cell over its nightly runs, and windows of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.history import changepoints
from velodrome.scheduler.history.autocorrelation import INDEPENDENT, Dependence
from velodrome.scheduler.history.cell_series import Point
from velodrome.scheduler.history.changepoints import MOST_RUNS, Segmentation, fit_segments
from velodrome.scheduler.history.variance_pooling import NO_PRIOR, Prior


@dataclass(frozen=True)
class Series:
    """One phase of a cell over the runs that have it, oldest first. Logarithms of ns.

    levels: over all repeats of a run; initial: without confirming repeats; confirming: of those
    alone.
    errors: standard deviations of the levels, from the spread of the repeats. runs: the index of
    each among all of the cell's runs. dependence: their autocorrelation. prior: the spread of other
    cells.
    """

    levels: tuple[float, ...]
    initial: tuple[float, ...]
    confirming: tuple[float | None, ...]
    errors: tuple[float, ...]
    runs: tuple[int, ...]
    dependence: Dependence = INDEPENDENT
    prior: Prior = NO_PRIOR

    def remeasured_runs(self) -> tuple[int, ...]:
        """Return the runs with confirming repeats, by their index among the cell's."""
        pairs = zip(self.runs, self.confirming, strict=True)
        return tuple(run for run, level in pairs if level is not None)

    def window_until(self, run: int) -> "Window":
        """Return the window that ends with a run, as it was before the run's confirmation."""
        start = max(0, run + 1 - MOST_RUNS)
        levels = (*self.levels[start:run], self.initial[run])
        errors = self.errors[start : run + 1]
        return Window(levels, errors, self.dependence, self.prior, start)


@dataclass(frozen=True)
class Window:
    """Levels and errors of consecutive runs of a series, from its run `start` on."""

    levels: Sequence[float]
    errors: Sequence[float]
    dependence: Dependence = INDEPENDENT
    prior: Prior = NO_PRIOR
    start: int = 0

    def fit_segments(self, rate: float, without: int = 0) -> Segmentation:
        """Fit segments, without the last `without` runs. rate: of a false cut."""
        levels = self.levels[: len(self.levels) - without]
        return fit_segments(levels, rate, self.dependence, self.prior)

    def compute_standard_error(self, weights: Sequence[float], spread: float) -> float:
        """Compute the standard error of a weighted sum of the last runs."""
        errors = self.errors[len(self.errors) - len(weights) :]
        own = (weight * error for weight, error in zip(weights, errors, strict=True))
        return math.hypot(spread * self.dependence.compute_error(weights), *own)

    def estimate_spread(self, onset: int) -> tuple[float, float]:
        """Estimate the spread around both sides of a step, with its degrees."""
        bounds = (onset, len(self.levels))
        own = changepoints.estimate_spread(self.levels, bounds, self.dependence)
        return self.prior.moderate(*own)


def select_runs(points: Sequence[Point], phase: str) -> tuple[Point, ...]:
    """Select the runs with a number of this phase."""
    return tuple(point for point in points if phase in point.initial)


def build_series(points: Sequence[Point], phase: str) -> Series:
    """Build the series of the runs that have the phase."""
    runs = [(index, point) for index, point in enumerate(points) if phase in point.initial]
    return Series(
        tuple(point.levels[phase] for _, point in runs),
        tuple(point.initial[phase] for _, point in runs),
        tuple(point.confirming.get(phase) for _, point in runs),
        tuple(point.errors.get(phase, 0.0) for _, point in runs),
        tuple(index for index, _ in runs),
    )
