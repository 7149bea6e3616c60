"""Whether the speed changed while it was measured, which no interval of a median can tell.

Samples are replaced by their ranks, so that no outlier counts for more than one. A steady change is
Spearman's correlation of rank and time (Daniels, Journal of the Royal Statistical Society B 12
(1950) 171-181); a wave or a step shows between three or nine equal blocks (Kruskal and Wallis,
Journal of the American Statistical Association 47 (1952) 583-621). All assume independence, so each
statistic is divided by how many dependent samples are worth one, as found when the change itself is
taken out: Hamed and Rao, Journal of Hydrology 204 (1998) 182-196.
"""

from typing import Sequence

import numpy

from velodrome.adapters.timing.autocorrelation import worth_one

STEADY = 3.841  # the 95 % quantiles of chi-square with 1, 2 and 8 degrees of freedom
HINT = 1.323  # the 75 % quantile with 1: not enough to say so, but to look on
BLOCKS = ((3, 5.991), (9, 15.507))
LEAST_BLOCK = 3  # samples


def drift(values: Sequence[float], median: float, steady: float = STEADY) -> float:
    """By how much of the median it differs between blocks of samples; 0 where chance explains it.

    values: in the order in which they were taken. steady: what chi-square must exceed for a steady
    change. Looking three times, and again with more samples, finds a change where there is none
    more often than at 5 %; it only makes the timing last longer.
    """
    taken = numpy.asarray(values, dtype=float)
    if len(taken) < 3 * LEAST_BLOCK or not median or taken.min() == taken.max():
        return 0.0
    ranks = _ranks(taken)
    time = numpy.arange(len(ranks)) - (len(ranks) - 1) / 2.0
    slope = float(ranks @ time) / float(time @ time)
    left = ranks - slope * time
    left = _blocks(left, 3)
    left = (left - left.mean(axis=1, keepdims=True)).ravel()
    noise = float(left @ left) / len(left) * worth_one(left)
    is_steady = slope**2 * float(time @ time) > steady * noise
    found = [_range(taken, 3)] if is_steady else []
    for count, most in BLOCKS:
        if len(ranks) >= count * LEAST_BLOCK:
            means = _blocks(ranks, count).mean(axis=1)
            between = float(((means - means.mean()) ** 2).sum()) * (len(ranks) // count)
            found += [_range(taken, count)] if between > most * noise else []
    return max(found) / median if found else 0.0


def _ranks(taken: "numpy.ndarray") -> "numpy.ndarray":
    """Around 0; equal values share the middle of their ranks."""
    ordered = numpy.sort(taken)
    below = numpy.searchsorted(ordered, taken, "left")
    up_to = numpy.searchsorted(ordered, taken, "right")
    return (below + up_to - len(taken)) / 2.0


def _blocks(values: "numpy.ndarray", count: int) -> "numpy.ndarray":
    """A row each, all of one length; what is over is left out at the beginning."""
    return values[len(values) % count :].reshape(count, -1)


def _range(taken: "numpy.ndarray", count: int) -> float:
    """Between the medians of the fastest and the slowest block, of even blocks the upper ones."""
    blocks = numpy.sort(_blocks(taken, count), axis=1)
    medians = blocks[:, blocks.shape[1] // 2]
    return float(medians.max() - medians.min())
