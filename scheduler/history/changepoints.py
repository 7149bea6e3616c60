"""Changepoint detection in a series of levels by penalized least squares.

The segmentation is the exact optimum, by PELT (R. Killick, P. Fearnhead, I. A. Eckley, Optimal
detection of changepoints with a linear computational cost, JASA 107 (2012) 1590-1598) from
`ruptures`. The penalty of a cut is the square of Student's two-sided quantile times the variance of
a run, so that a series without a step is cut with about the requested probability: the quantile is
that of `rate` over the number of possible cuts (Bonferroni). For autocorrelated runs the variance
is inflated (velodrome.scheduler.history.autocorrelation).

The variance is first that of successive differences, which steps hardly affect (J. von Neumann et
al., The mean square successive difference, Annals of Mathematical Statistics 12 (1941) 153-162),
then that of the levels around their segments, by generalized least squares.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import fmean, median

from velodrome.scheduler.history.autocorrelation import (
    CAUTIOUS,
    INDEPENDENT,
    LONG_RUN,
    Dependence,
    build_segment_columns,
    build_whitening,
)
from velodrome.scheduler.history.variance_pooling import NO_PRIOR, Prior

FEWEST = 2  # runs of a segment
LEAST_SPREAD = 1e-3  # of a run, relative: no measured time is more precise
MOST_RUNS = 120  # older runs say little about the machine's state today


@dataclass(frozen=True)
class Segment:
    """Runs start <= i < end around one level."""

    start: int
    end: int
    level: float

    @property
    def runs(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Segmentation:
    """Segments in order, and the standard deviation of a run around its own, with its degrees.

    dependence: the given autocorrelation of runs.
    """

    segments: tuple[Segment, ...]
    spread: float
    degrees: float
    dependence: Dependence = INDEPENDENT

    @property
    def last(self) -> Segment:
        return self.segments[-1]


def fit_segments(
    levels: Sequence[float],
    rate: float,
    dependence: Dependence = INDEPENDENT,
    prior: Prior = NO_PRIOR,
) -> Segmentation:
    """Fit segments to logarithms of times, oldest first, at least one.

    rate: of any false cut. prior: of the spread.
    """
    count = len(levels)
    inflation = dependence.inflation(max(1, min(LONG_RUN, count // 2)))
    spread, degrees = _spread_by_differences(levels, dependence)
    for _ in range(2):
        threshold = compute_quantile(rate / max(1, count - 1), degrees)
        bounds = _find_bounds(levels, inflation * (threshold * spread) ** 2)
        segments = tuple(
            Segment(start, end, fmean(levels[start:end])) for start, end in pairwise((0, *bounds))
        )
        spread, degrees = prior.moderate(*estimate_spread(levels, bounds, dependence))
    return Segmentation(segments, spread, degrees, dependence)


def find_cautious_bounds(levels: Sequence[float], rate: float) -> tuple[int, ...]:
    """Find the ends of segments that are certain before the autocorrelation is known.

    The spread is by the median of differences, which even a large step does not affect (W. N.
    Venables, B. D. Ripley, Modern Applied Statistics with S, 4th ed., 5.5: 0.6745 of a Gaussian's).
    """
    count = len(levels)
    if count < 2 * FEWEST:
        return (count,)
    typical = median(abs(after - before) for before, after in pairwise(levels)) / 0.6745
    variance = max(LEAST_SPREAD**2, typical**2 / 2 / (1 - CAUTIOUS.lag1))
    inflation = CAUTIOUS.inflation(max(1, min(LONG_RUN, count // 2)))
    threshold = compute_quantile(rate / (count - 1), 2 * (count - 1) / 3)
    return _find_bounds(levels, inflation * threshold**2 * variance)


@lru_cache(maxsize=4096)
def compute_quantile(rate: float, degrees: float) -> float:
    """Compute Student's two-sided quantile for tail probability `rate`; infinite for 0 degrees."""
    from scipy.stats import t  # late: slow to import

    return float(t.isf(rate / 2, degrees)) if degrees > 0 else math.inf


def estimate_spread(
    levels: Sequence[float], bounds: Sequence[int], dependence: Dependence
) -> tuple[float, float]:
    """Estimate the standard deviation of a run around segments, with its degrees.

    By generalized least squares: A. C. Aitken, On least squares and linear combination of
    observations, Proceedings of the Royal Society of Edinburgh 55 (1935) 42-48.
    """
    import numpy as np

    runs = len(levels)
    degrees = runs - len(bounds)
    if not degrees:
        return LEAST_SPREAD, 0.0
    design = build_segment_columns(runs, bounds)
    centred = np.asarray(levels, dtype=float) - levels[0]
    white = build_whitening(dependence, runs)
    root = np.asarray(np.linalg.qr(white @ np.column_stack([design, centred]), mode="r"))
    return max(LEAST_SPREAD, abs(float(root[-1, -1])) / math.sqrt(degrees)), float(degrees)


def _find_bounds(levels: Sequence[float], penalty: float) -> tuple[int, ...]:
    """Find the end of each segment."""
    import numpy as np
    from ruptures.detection.kernelcpd import KernelCPD  # late: slow to import

    if len(levels) < 2 * FEWEST or not math.isfinite(penalty):
        return (len(levels),)
    centred = np.asarray(levels, dtype=float) - levels[0]
    bounds = KernelCPD(kernel="linear", min_size=FEWEST).fit(centred[:, None]).predict(pen=penalty)
    return tuple(int(bound) for bound in bounds)


def _spread_by_differences(levels: Sequence[float], dependence: Dependence) -> tuple[float, float]:
    """Estimate the spread by differences; it has two thirds as many degrees as differences."""
    squares = [(after - before) ** 2 for before, after in pairwise(levels)]
    if not squares:
        return LEAST_SPREAD, 0.0
    variance = fmean(squares) / 2 / (1 - dependence.lag1)
    return max(LEAST_SPREAD, math.sqrt(variance)), 2 * len(squares) / 3
