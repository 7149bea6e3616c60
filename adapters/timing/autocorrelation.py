"""The integrated autocorrelation time of timings: how many count as one independent timing.

A median's interval counts the values below it, so the runs of values on one side of the median
matter: the sum of the autocorrelations of their signs. Signs also ignore how far away an outlier
is. The sum ends at the first pair of neighbouring lags that is not positive, and no pair counts
more than the one before: Geyer, Practical Markov Chain Monte Carlo, Statistical Science 7 (1992)
473-483, section 3.3. This assumes no shape of the dependence.

Two corrections for few values. Deviations from the sample median make each of the 2 M + 1
autocorrelations too small by about sum / n; the estimate corrects this bias. The sum has a relative
standard error of sqrt(2 (2 M + 1) / n) (Madras and Sokal, Journal of Statistical Physics 50 (1988)
109-186, appendix C). A rule that stops at the first narrow interval prefers sums that are too
small by chance, so the estimate adds CAUTION standard errors.

Weak slow noise below strong fast noise ends the sum too early: chance hides correlations of a
tenth. velodrome.adapters.timing.low_frequency estimates that part.
"""

import math
from typing import Sequence

import numpy

CAUTION = 1.0  # standard errors added; from benchmarks/calibration.py, under the stopping rules
MIN_REMAINDER = 0.1  # lower limit of 1 - share in the bias correction
# Signs around a median often add up to exactly 0. A Fourier transform gives +-1e-17 instead,
# depending on the NumPy release; agent and worker must get the same result.
ROUNDING = 1e-9


def compute_signs(values: Sequence[float], median: float) -> "numpy.ndarray":
    """Return -1, 0 or 1 for each value, by its side of the median."""
    return numpy.sign(numpy.asarray(values, dtype=float) - median)


def estimate_autocorrelation_time(values: "numpy.ndarray") -> float:
    """Return how many of the values, in their order, inform as much as one independent value."""
    correlations = compute_autocorrelations(values)
    count = len(correlations)
    pairs = correlations[0 : count - 1 : 2] + correlations[1::2]
    ended = numpy.flatnonzero(pairs <= ROUNDING)
    positive = pairs[: ended[0]] if len(ended) else pairs
    if not len(positive) or (len(positive) == 1 and correlations[1] < count**-0.5 - ROUNDING):
        return 1.0  # within chance
    total = 2.0 * float(numpy.minimum.accumulate(positive).sum()) - 1.0
    share = (4.0 * len(positive) - 1.0) / count  # (2 M + 1) / n, M = 2 pairs - 1
    unbiased = total / max(1.0 - share, MIN_REMAINDER)
    return max(unbiased * (1.0 + CAUTION * math.sqrt(2.0 * share)), 1.0)


def compute_autocorrelations(values: "numpy.ndarray") -> "numpy.ndarray":
    """Return those of lags 0 .. n - 1, each divided by n; zeros if all values are equal."""
    count = len(values)
    deviations = values - values.mean()
    length = 1 << (2 * count - 1).bit_length()
    spectrum = numpy.fft.rfft(deviations, length)
    sums = numpy.fft.irfft(spectrum * spectrum.conj(), length)[:count]
    return sums / sums[0] if sums[0] > 1e-9 else numpy.zeros(count)
