"""Noise that lasts longer than a few samples, seen in the lowest frequencies of their series.

How far a mean is off depends on the spectrum at frequency zero. The squared cosine transforms of
the lowest frequencies (half a cycle over all samples, one cycle, one and a half ...) each estimate
it with one degree of freedom: Lazarus, Lewis, Stock and Watson, HAR Inference: Recommendations for
Practice, Journal of Business and Economic Statistics 36 (2018) 541-559, which takes the mean of the
lowest q of them and Student's t of q degrees.

If even these still rise towards zero, the noise has no longest scale within the samples (1/f, or
states that last), and no estimate from them reaches zero. The lowest q are compared with those
above them by the F distribution, as two independent sums of squares.
"""

from typing import NamedTuple

import numpy

FEWEST = 30  # samples, below which nothing is estimated
LOWEST = 6  # q: fewer see slower noise, more scatter less
WIDENED = (2.446912 / 1.959964) ** 2  # by Student's 97.5 % quantile of q degrees over the normal's
LONG = 64  # samples, from which on UP_TO_LONG frequencies are compared, else UP_TO
UP_TO, UP_TO_LONG = 16, 32
MOST = 1024  # points that are transformed; of more samples, means of neighbours


class Rise(NamedTuple):
    """Quantiles of F with (6, 10) and (6, 26) degrees of freedom that the rise must exceed."""

    short: float
    long: float


SURE = Rise(2.461, 2.014)  # 90 %
LIKELY = Rise(0.954, 0.915)  # 50 %: not enough to say so, but to look on


def low_frequency_inflation(signs: "numpy.ndarray") -> float:
    """How many of the values are worth one independent one, by their lowest frequencies; 0: untold.

    signs: of the values around their median, in the order in which they were taken.
    """
    variance = float(signs.var())
    if len(signs) < FEWEST or not variance:
        return 0.0
    return WIDENED * float(cosine_powers(signs, LOWEST).mean()) / variance


def still_rises(signs: "numpy.ndarray", limit: Rise = SURE) -> bool:
    """Whether the spectrum rises towards frequency zero as far down as it can be seen."""
    if len(signs) < FEWEST:
        return False
    is_long = len(signs) >= LONG
    powers = cosine_powers(signs, UP_TO_LONG if is_long else UP_TO)
    above = float(powers[LOWEST:].mean())
    return float(powers[:LOWEST].mean()) > (limit.long if is_long else limit.short) * above


def cosine_powers(values: "numpy.ndarray", count: int) -> "numpy.ndarray":
    """Squares of the `count` lowest type-II cosine transforms.

    Of independent values the mean of each is their variance. Of at least two values. What is over
    when neighbours are joined is left out at the beginning.
    """
    joined = max(1, 2 * len(values) // MOST)
    length = len(values) // joined
    points = values[len(values) - length * joined :].reshape(length, joined).mean(axis=1)
    points = points - points.mean()
    time = (numpy.arange(length) + 0.5) * (numpy.pi / length)
    waves = numpy.cos(numpy.outer(numpy.arange(1, count + 1), time))
    return waves.dot(points) ** 2 * (2.0 * joined / length)
