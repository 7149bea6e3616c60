"""How many timings in a row are worth one independent one: a slow moment lasts.

The interval of a median counts how many values lie below it, so that what matters is how long a
run of values on one side of the median is: the sum of the autocorrelations of their signs, which is
also deaf to how far an outlier is out. The sum ends where pairs of neighbouring lags stop being
positive, each pair counting no more than the one before: Geyer, Practical Markov Chain Monte Carlo,
Statistical Science 7 (1992) 473-483, section 3.3. No shape of the dependence is assumed.

Two corrections for few values. Deviations from the values' own median make each of the 2 M + 1
autocorrelations too small by about sum / n, which is undone. The sum itself has a standard error of
sqrt(2 (2 M + 1) / n) of it (Madras and Sokal, Journal of Statistical Physics 50 (1988) 109-186,
appendix C), and who stops as soon as an interval is narrow enough stops rather where it came out
small; so some of that error is added.

Slow noise beneath stronger quick noise ends that sum too early: correlations of a tenth are lost in
chance. For that the lowest frequencies are looked at, too
(velodrome.adapters.timing.low_frequency).
"""

import math
from typing import Sequence

import numpy

CAUTION = 1.0  # standard errors added; by benchmarks/calibration.py, under the rules of stopping
LEAST_LEFT = 0.1  # of the whole, however much is to be undone
# Signs around a median often add up to exactly 0. A Fourier transform makes that 1e-17 on either
# side, differently in each release of NumPy; the agent must find what the worker found.
NOTHING = 1e-9


def signs_around(values: Sequence[float], median: float) -> "numpy.ndarray":
    """-1, 0 or 1 each."""
    return numpy.sign(numpy.asarray(values, dtype=float) - median)


def worth_one(values: "numpy.ndarray") -> float:
    """How many of the values, in their order, tell as much of their mean as one independent one."""
    correlations = autocorrelations(values)
    count = len(correlations)
    pairs = correlations[0 : count - 1 : 2] + correlations[1::2]
    ended = numpy.flatnonzero(pairs <= NOTHING)
    positive = pairs[: ended[0]] if len(ended) else pairs
    if not len(positive) or (len(positive) == 1 and correlations[1] < count**-0.5 - NOTHING):
        return 1.0  # nothing that chance alone would not show
    total = 2.0 * float(numpy.minimum.accumulate(positive).sum()) - 1.0
    share = (4.0 * len(positive) - 1.0) / count  # (2 M + 1) / n, M = 2 pairs - 1
    unbiased = total / max(1.0 - share, LEAST_LEFT)
    return max(unbiased * (1.0 + CAUTION * math.sqrt(2.0 * share)), 1.0)


def autocorrelations(values: "numpy.ndarray") -> "numpy.ndarray":
    """Of lags 0 .. n - 1, each divided by n; zeros where all values are equal."""
    count = len(values)
    deviations = values - values.mean()
    length = 1 << (2 * count - 1).bit_length()
    spectrum = numpy.fft.rfft(deviations, length)
    sums = numpy.fft.irfft(spectrum * spectrum.conj(), length)[:count]
    return sums / sums[0] if sums[0] > 1e-9 else numpy.zeros(count)
