"""Percentiles of samples, each with its 95 % interval; none where the samples do not reach so far.

The value is the median-unbiased one, definition 8 of Hyndman and Fan, The American Statistician 50
(1996) 361-365. The interval is of order statistics: the share of independent values below a
percentile is binomial (Hahn and Meeker, Statistical Intervals (1991), section 5.2). Of n values
it ends within them from 72 on for the 5th and the 95th percentile, from 368 on for the 99th.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Percentile:
    """A percentile with its 95 % interval, in the unit of the values."""

    value: float
    low: float
    high: float


def compute_percentile(
    values: Sequence[float], share: float, *, inflated: float = 1.0
) -> Percentile | None:
    """Compute a percentile. share: 0.95 for the 95th. inflated: values per independent one."""
    import numpy  # late: what shows only medians does not import it

    count = int(len(values) / inflated)
    if count < 1:
        return None
    below, above = _find_quantile(0.025, count, share), _find_quantile(0.975, count, share) + 1
    if below < 1 or above > count:
        return None
    ordered = numpy.sort(numpy.asarray(values, dtype=float))
    scale = len(values) / count
    return Percentile(
        float(numpy.quantile(ordered, share, method="median_unbiased")),
        float(ordered[max(int(below * scale), 1) - 1]),
        float(ordered[min(int(above * scale), len(values)) - 1]),
    )


def _find_quantile(probability: float, count: int, share: float) -> int:
    """Return the least number that so many trials do not exceed with this probability.

    As scipy.stats.binom.ppf: to import any part of scipy takes longer than a report.
    """
    import numpy

    hits = numpy.arange(1, count + 1)
    odds = numpy.log((count + 1 - hits) / hits) + math.log(share / (1 - share))
    logarithms = count * math.log1p(-share) + numpy.concatenate(([0.0], numpy.cumsum(odds)))
    reached = numpy.cumsum(numpy.exp(logarithms)) >= probability
    return int(numpy.argmax(reached))
