"""The 95 % interval of a median, from order statistics alone.

This assumes nothing about the distribution: of n independent values the l-th and the (n + 1 - l)-th
smallest enclose the median with probability 1 - 2 P(B < l), B binomial (n, 1/2). Hahn & Meeker,
Statistical Intervals (1991), section 5.2; David & Nagaraja, Order Statistics (2003), section 7.1.

Timings in a row are not independent. If their autocorrelation time is k
(velodrome.adapters.timing.autocorrelation), the two ranks move apart by the root of k.
"""

import math
from typing import NamedTuple, Sequence

from velodrome.adapters.timing.autocorrelation import compute_signs, estimate_autocorrelation_time
from velodrome.adapters.timing.low_frequency import estimate_inflation

TAIL = 40  # one outcome in 40 may lie below, one above: 95 %
Z = 1.959964  # the normal distribution's 97.5 % quantile
EXACT_UP_TO = 1000  # beyond, the normal approximation is within one rank, never the narrower


class Interval(NamedTuple):
    """A median and its bounds. covered: the bounds are at 95 %, else they are min and max.

    inflation: how many of the values inform as much as one independent value: the larger of
    autocorrelation_time and the estimate from the lowest frequencies.
    """

    median: float
    low: float
    high: float
    covered: bool
    inflation: float = 1.0
    autocorrelation_time: float = 1.0

    @property
    def relative_half_width(self) -> float:
        """Return half the width over the median: 0.01 is plus or minus one percent."""
        return (self.high - self.low) / (2.0 * self.median) if self.median else 0.0


def compute_median_interval(values: Sequence[float]) -> Interval:
    """Return the interval of at least one value, given in the order of measurement."""
    ordered = sorted(values)
    median = take_median(ordered)
    signs = compute_signs(values, median)
    autocorrelation = estimate_autocorrelation_time(signs)
    inflation = max(autocorrelation, estimate_inflation(signs))
    lower = find_lower_rank(len(ordered), inflation)
    covered = lower > 0
    lower = max(lower, 1)
    return Interval(
        median, ordered[lower - 1], ordered[-lower], covered, inflation, autocorrelation
    )


def take_median(ordered: Sequence[float]) -> float:
    """Return the median of sorted values."""
    half = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[half])
    return (ordered[half - 1] + ordered[half]) / 2.0


def find_lower_rank(n: int, inflation: float = 1.0) -> int:
    """Return the rank l, from 1, of the lower bound; the upper is n + 1 - l. 0: too few values.

    inflation >= 1: the factor by which autocorrelation increases the variance.
    """
    rank = _independent_rank(n)
    if not rank:
        return 0
    centre = (n + 1) / 2.0
    return max(math.floor(centre - math.sqrt(inflation) * (centre - rank)), 0)


def compute_coverage(n: int, rank: int) -> float:
    """Return the probability that the rank-th smallest and largest values enclose the median."""
    return 1.0 - float(2 * _tail(n, rank) / 2**n)


def _independent_rank(n: int) -> int:
    if n > EXACT_UP_TO:
        # Continuity-corrected and rounded down: the true coverage is at least 95 %.
        return math.floor((n - Z * math.sqrt(n)) / 2.0)
    # Integers only: of all 2^n outcomes, count those with fewer than `rank` values below.
    fewer, term, rank = 0, 1, 0
    while TAIL * (fewer + term) <= 2**n:
        fewer += term
        term = term * (n - rank) // (rank + 1)
        rank += 1
    return rank


def _tail(n: int, rank: int) -> int:
    """Count the outcomes, of 2^n, that have fewer than `rank` values below the median."""
    term, total = 1, 0
    for below in range(rank):
        total += term
        term = term * (n - below) // (below + 1)
    return total
