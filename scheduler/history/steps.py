"""Where a series of levels stepped: penalized least squares over all ways to cut it.

The cut is the exact optimum, found by PELT (R. Killick, P. Fearnhead, I. A. Eckley, Optimal
detection of changepoints with a linear computational cost, JASA 107 (2012) 1590-1598) as `ruptures`
has it. The penalty of a cut is the square of Student's two-sided quantile times the variance of a
night, so that a series without a step is cut with about the probability that is asked for: the
quantile is that of `rate` over the number of places where it may be cut (Bonferroni).

The variance is first that of successive differences, which steps hardly touch (J. von Neumann et
al., The mean square successive difference, Annals of Mathematical Statistics 12 (1941) 153-162),
then that of the levels around their stretches.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import fmean

FEWEST = 2  # nights of a stretch
FINEST = 1e-3  # of a night's spread, relative: nothing that computes is steadier
MOST_NIGHTS = 120  # older ones tell of another machine room


@dataclass(frozen=True)
class Stretch:
    """Nights start <= i < end that lie around one level."""

    start: int
    end: int
    level: float

    @property
    def nights(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Fit:
    """Stretches in order; a night's standard deviation around its own, with its degrees."""

    stretches: tuple[Stretch, ...]
    spread: float
    degrees: float

    @property
    def last(self) -> Stretch:
        return self.stretches[-1]


def fit(levels: Sequence[float], rate: float) -> Fit:
    """Of logarithms of times, oldest first, at least one. rate: of a false cut in all of them."""
    count = len(levels)
    spread, degrees = _of_differences(levels)
    for _ in range(2):
        bounds = _bounds(levels, spread, quantile(rate / max(1, count - 1), degrees))
        stretches = tuple(
            Stretch(start, end, fmean(levels[start:end])) for start, end in pairwise((0, *bounds))
        )
        spread, degrees = _around(levels, stretches)
    return Fit(stretches, spread, degrees)


@lru_cache(maxsize=4096)
def quantile(rate: float, degrees: float) -> float:
    """Student's: a share `rate` lies beyond it, both sides together. Infinite for 0 degrees."""
    from scipy.stats import t  # late: slow to import

    return float(t.isf(rate / 2, degrees)) if degrees > 0 else math.inf


def _bounds(levels: Sequence[float], spread: float, beyond: float) -> tuple[int, ...]:
    """Where each stretch ends."""
    import numpy as np
    from ruptures.detection.kernelcpd import KernelCPD  # late: slow to import

    penalty = (beyond * spread) ** 2
    if len(levels) < 2 * FEWEST or not math.isfinite(penalty):
        return (len(levels),)
    centred = np.asarray(levels, dtype=float) - levels[0]
    found = KernelCPD(kernel="linear", min_size=FEWEST).fit(centred[:, None]).predict(pen=penalty)
    return tuple(int(bound) for bound in found)


def _of_differences(levels: Sequence[float]) -> tuple[float, float]:
    """Two thirds of the nights are the degrees that the mean square of differences is worth."""
    squares = [(after - before) ** 2 for before, after in pairwise(levels)]
    if not squares:
        return FINEST, 0.0
    return max(FINEST, math.sqrt(fmean(squares) / 2)), 2 * len(squares) / 3


def _around(levels: Sequence[float], stretches: Sequence[Stretch]) -> tuple[float, float]:
    degrees = len(levels) - len(stretches)
    if not degrees:
        return FINEST, 0.0
    squares = math.fsum(
        (level - one.level) ** 2 for one in stretches for level in levels[one.start : one.end]
    )
    return max(FINEST, math.sqrt(squares / degrees)), float(degrees)
