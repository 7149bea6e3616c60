"""Slow noise, estimated from the lowest frequencies of a series of samples.

The error of a mean depends on the spectrum at frequency zero. The squared cosine transforms of
the lowest frequencies (half a cycle over all samples, one cycle, one and a half ...) each estimate
it with one degree of freedom: Lazarus, Lewis, Stock and Watson, HAR Inference: Recommendations for
Practice, Journal of Business and Economic Statistics 36 (2018) 541-559, which takes the mean of the
lowest q of them and Student's t of q degrees.

If the spectrum still rises towards zero, the noise has no longest time scale within the samples
(1/f, or lasting states), and no estimate reaches frequency zero. An F test compares the lowest q
with those above them, as two independent sums of squares.
"""

from typing import NamedTuple

import numpy

MIN_SAMPLES = 30  # for any estimate
LOWEST = 6  # q: fewer see slower noise, more scatter less
# Student's 97.5 % quantile with q degrees of freedom over the normal distribution's.
STUDENT_FACTOR = (2.446912 / 1.959964) ** 2
LONG_SERIES = 64  # samples; from here on LONG_COUNT frequencies are compared, else SHORT_COUNT
SHORT_COUNT, LONG_COUNT = 16, 32
MAX_POINTS = 1024  # of the transform; more samples are averaged with their neighbours


class RiseLimits(NamedTuple):
    """Limits of a rise: quantiles of F with (6, 10) and (6, 26) degrees of freedom."""

    short: float
    long: float


SURE = RiseLimits(2.461, 2.014)  # 90 %
LIKELY = RiseLimits(0.954, 0.915)  # 50 %: a reason to take more samples


def estimate_inflation(signs: "numpy.ndarray") -> float:
    """Return how many values inform as much as one independent value; 0: too few values.

    signs: of the values around their median, in the order of measurement.
    """
    variance = float(signs.var())
    if len(signs) < MIN_SAMPLES or not variance:
        return 0.0
    return STUDENT_FACTOR * float(compute_cosine_powers(signs, LOWEST).mean()) / variance


def rises_towards_zero(signs: "numpy.ndarray", limit: RiseLimits = SURE) -> bool:
    """Return True if the spectrum rises down to the lowest frequency of the series."""
    if len(signs) < MIN_SAMPLES:
        return False
    is_long = len(signs) >= LONG_SERIES
    powers = compute_cosine_powers(signs, LONG_COUNT if is_long else SHORT_COUNT)
    above = float(powers[LOWEST:].mean())
    return float(powers[:LOWEST].mean()) > (limit.long if is_long else limit.short) * above


def compute_cosine_powers(values: "numpy.ndarray", count: int) -> "numpy.ndarray":
    """Return the squares of the `count` lowest type-II cosine transforms of two values or more.

    For independent values the expectation of each is their variance. When neighbours are averaged,
    surplus values at the beginning are omitted.
    """
    joined = max(1, 2 * len(values) // MAX_POINTS)
    length = len(values) // joined
    points = values[len(values) - length * joined :].reshape(length, joined).mean(axis=1)
    points = points - points.mean()
    time = (numpy.arange(length) + 0.5) * (numpy.pi / length)
    waves = numpy.cos(numpy.outer(numpy.arange(1, count + 1), time))
    powers: numpy.ndarray = waves.dot(points) ** 2
    return powers * (2.0 * joined / length)
