"""The 95 % interval of a median, from order statistics alone.

Nothing is assumed of the distribution: of n independent values the l-th and the (n + 1 - l)-th
smallest enclose the median with probability 1 - 2 P(B < l), B binomial (n, 1/2). Hahn & Meeker,
Statistical Intervals (1991), section 5.2; David & Nagaraja, Order Statistics (2003), section 7.1.

Timings in a row are not independent: a slow moment lasts. Where k of them are worth one independent
value (velodrome.adapters.timing.autocorrelation says how many), the two ranks are moved apart by
the root of k.
"""

import math
from typing import NamedTuple, Sequence

from velodrome.adapters.timing.autocorrelation import signs_around, worth_one
from velodrome.adapters.timing.low_frequency import low_frequency_inflation

TAIL = 40  # one outcome in 40 may lie below, one above: 95 %
Z = 1.959964  # the normal distribution's 97.5 % quantile
EXACT_UP_TO = 1000  # beyond, the normal approximation is within one rank, never the narrower


class Interval(NamedTuple):
    """A median and its bounds. covered: they enclose it at 95 %, else they are min and max.

    inflated: how many of the values are worth one that is independent. by_neighbours: the same as
    far as values near each other show it, without what their lowest frequencies add.
    """

    median: float
    low: float
    high: float
    covered: bool
    inflated: float = 1.0
    by_neighbours: float = 1.0

    @property
    def relative_half_width(self) -> float:
        """0.01 is plus or minus one percent."""
        return (self.high - self.low) / (2.0 * self.median) if self.median else 0.0


def median_interval(values: Sequence[float]) -> Interval:
    """Of at least one value, in the order in which they were taken."""
    ordered = sorted(values)
    median = middle(ordered)
    signs = signs_around(values, median)
    by_neighbours = worth_one(signs)
    inflated = max(by_neighbours, low_frequency_inflation(signs))
    lower = lower_rank(len(ordered), inflated)
    covered = lower > 0
    lower = max(lower, 1)
    return Interval(median, ordered[lower - 1], ordered[-lower], covered, inflated, by_neighbours)


def middle(ordered: Sequence[float]) -> float:
    """The median of values that are sorted already."""
    half = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[half])
    return (ordered[half - 1] + ordered[half]) / 2.0


def lower_rank(n: int, inflated: float = 1.0) -> int:
    """The rank l, from 1, of the lower bound; the upper is n + 1 - l. 0: n values are too few.

    inflated >= 1 is the factor by which dependence widens the variance.
    """
    rank = _independent_rank(n)
    if not rank:
        return 0
    centre = (n + 1) / 2.0
    return max(math.floor(centre - math.sqrt(inflated) * (centre - rank)), 0)


def coverage(n: int, rank: int) -> float:
    """The probability that the rank-th smallest and largest of n values enclose the median."""
    return 1.0 - 2 * _tail(n, rank) / 2**n


def _independent_rank(n: int) -> int:
    if n > EXACT_UP_TO:
        # Continuity-corrected and rounded down: the true coverage is at least 95 %.
        return math.floor((n - Z * math.sqrt(n)) / 2.0)
    # Whole numbers throughout: of all 2^n outcomes, those with fewer than `rank` values below.
    fewer, term, rank = 0, 1, 0
    while TAIL * (fewer + term) <= 2**n:
        fewer += term
        term = term * (n - rank) // (rank + 1)
        rank += 1
    return rank


def _tail(n: int, rank: int) -> int:
    """How many of the 2^n outcomes have fewer than `rank` values below the median."""
    term, total = 1, 0
    for below in range(rank):
        total += term
        term = term * (n - below) // (below + 1)
    return total
