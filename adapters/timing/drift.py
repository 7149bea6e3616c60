"""Drift: a change of speed during the measurement, which a median's interval does not show.

Ranks replace the samples, so that no outlier counts for more than one. The test of a trend is
Spearman's correlation of rank and time (Daniels, Journal of the Royal Statistical Society B 12
(1950) 171-181); a wave or a step shows between three or nine equal blocks (Kruskal and Wallis,
Journal of the American Statistical Association 47 (1952) 583-621). All assume independence, so each
statistic is divided by the autocorrelation time of what is left without the change itself: Hamed
and Rao, Journal of Hydrology 204 (1998) 182-196.
"""

from typing import Sequence

import numpy

from velodrome.adapters.timing.autocorrelation import estimate_autocorrelation_time

TREND = 3.841  # the 95 % quantiles of chi-square with 1, 2 and 8 degrees of freedom
WEAK_TREND = 1.323  # the 75 % quantile with 1: a reason to take more samples
BLOCKS = ((3, 5.991), (9, 15.507))
MIN_BLOCK = 3  # samples


def measure_drift(values: Sequence[float], median: float, trend_limit: float = TREND) -> float:
    """Return the change between blocks of samples over the median; 0 if chance explains it.

    values: in the order of measurement. steady: the limit of chi-square for a trend. Three tests,
    repeated with more samples, give false alarms more often than at 5 %; a false alarm only makes
    the timing last longer.
    """
    samples = numpy.asarray(values, dtype=float)
    if len(samples) < 3 * MIN_BLOCK or not median or samples.min() == samples.max():
        return 0.0
    ranks = _ranks(samples)
    time = numpy.arange(len(ranks)) - (len(ranks) - 1) / 2.0
    slope = float(ranks @ time) / float(time @ time)
    residuals = ranks - slope * time
    residuals = _blocks(residuals, 3)
    residuals = (residuals - residuals.mean(axis=1, keepdims=True)).ravel()
    noise = float(residuals @ residuals) / len(residuals) * estimate_autocorrelation_time(residuals)
    has_trend = slope**2 * float(time @ time) > trend_limit * noise
    changes = [_range(samples, 3)] if has_trend else []
    for count, most in BLOCKS:
        if len(ranks) >= count * MIN_BLOCK:
            means = _blocks(ranks, count).mean(axis=1)
            between = float(((means - means.mean()) ** 2).sum()) * (len(ranks) // count)
            changes += [_range(samples, count)] if between > most * noise else []
    return max(changes) / median if changes else 0.0


def _ranks(samples: "numpy.ndarray") -> "numpy.ndarray":
    """Return ranks centred on 0; equal values share their mean rank."""
    ordered = numpy.sort(samples)
    below = numpy.searchsorted(ordered, samples, "left")
    up_to = numpy.searchsorted(ordered, samples, "right")
    return (below + up_to - len(samples)) / 2.0


def _blocks(values: "numpy.ndarray", count: int) -> "numpy.ndarray":
    """Return one row per block, all of one length; omit surplus values at the beginning."""
    return values[len(values) % count :].reshape(count, -1)


def _range(samples: "numpy.ndarray", count: int) -> float:
    """Return the range of the blocks' medians; the upper median if a block is even."""
    blocks = numpy.sort(_blocks(samples, count), axis=1)
    medians = blocks[:, blocks.shape[1] // 2]
    return float(medians.max() - medians.min())
