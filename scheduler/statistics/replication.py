"""Median time over repeats with its interval: a process, not a sample, is one observation.

Samples of one process share its state (memory placement, hash seed, choices of allocator and
autotuner), so ten thousand of them say nothing of the next process. The interval comes from the
spread of the process medians: Kalibera & Jones, Rigorous Benchmarking in Reasonable Time, ISMM
2013, sections 5 to 7, where the highest level of repetition gives the interval.

Student's t on the logarithms of the process medians, because with 2 to 5 repeats no
distribution-free interval reaches 95 %: the range of n values holds their median with probability
1 - 2^(1 - n): 50, 75, 87.5 and 93.75 %. Logarithms, because interference multiplies a time. The
spread is at least the error of the process medians by their own samples, so that a chance agreement
of few repeats does not make it smaller.

The number shown is the median of the process medians: one repeat with interference does not move
it.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

Z = 1.959964  # the normal distribution's 97.5 % quantile: how many errors half an interval is


@dataclass(frozen=True)
class Repeat:
    """One process: its median and the bounds of its own 95 % interval, ns per call, above 0."""

    median_ns: float
    low_ns: float
    high_ns: float

    @property
    def error(self) -> float:
        """The standard error of the log median, by this process's samples."""
        return math.log(self.high_ns / self.low_ns) / (2 * Z)


@dataclass(frozen=True)
class Spread:
    """The mean, variance and degrees of freedom of the logarithms of process medians.

    degrees 0: one process; the variance is that of its own samples, which is too small.
    """

    mean: float
    variance: float
    count: int

    @property
    def degrees(self) -> int:
        return self.count - 1

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return math.sqrt(self.variance / self.count)


@dataclass(frozen=True)
class ReplicatedTime:
    """A time over repeats, ns per call, with its 95 % interval.

    repeats 1: the interval is the process's own and does not hold for another process.
    """

    median_ns: float
    low_ns: float
    high_ns: float
    repeats: int

    @property
    def half_width(self) -> float:
        """The larger distance from the median to a bound, over the median: 0.01 is 1 %."""
        return max(self.high_ns - self.median_ns, self.median_ns - self.low_ns) / self.median_ns


def combine_repeats(repeats: Sequence[Repeat]) -> ReplicatedTime:
    """Combine one or more repeats. Student's t has n - 1 degrees: 12.7, 4.3, 3.2, 2.8, ..."""
    median_ns = statistics.median(repeat.median_ns for repeat in repeats)
    if len(repeats) == 1:
        return ReplicatedTime(median_ns, repeats[0].low_ns, repeats[0].high_ns, 1)
    found = compute_spread(repeats)
    half = half_width_factor(found.degrees) * found.error
    low_ns, high_ns = math.exp(found.mean - half), math.exp(found.mean + half)
    # The median of few may lie aside of the middle; an interval without its own number is none.
    return ReplicatedTime(median_ns, min(low_ns, median_ns), max(high_ns, median_ns), len(repeats))


def compute_spread(repeats: Sequence[Repeat]) -> Spread:
    """Compute the spread of one or more repeats; at least the error by their own samples."""
    logs = [math.log(repeat.median_ns) for repeat in repeats]
    within = statistics.fmean(repeat.error**2 for repeat in repeats)
    between = statistics.variance(logs) if len(logs) > 1 else 0.0
    return Spread(statistics.fmean(logs), max(between, within), len(logs))


def half_width_factor(degrees: float) -> float:
    """Return the 97.5 % quantile of Student's t distribution."""
    return student_quantile(0.975, degrees)


@lru_cache(maxsize=1024)
def student_quantile(share: float, degrees: float) -> float:
    """Return a quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, share))
