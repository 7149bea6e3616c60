"""Bimodality of samples: two modes with a gap, so that the median depends on their shares.

The shares are only known well if the modes alternate: if a mode lasts, a hundred samples may hold
three stretches of it. The gap is the widest one between sorted neighbours, without the outer
twentieth at either end, where gaps are always wide.
"""

from typing import NamedTuple, Sequence

import numpy

from velodrome.adapters.timing.autocorrelation import estimate_autocorrelation_time

TRIM = 20  # one sample in 20 at either end
MIN_SHARE = 0.2  # of the rarer mode; below it the median does not depend on that mode


class Bimodality(NamedTuple):
    """The widest gap between two modes.

    gap: relative to the median. share: of the rarer mode. inflation: its autocorrelation time.
    """

    gap: float
    share: float
    inflation: float

    @property
    def is_balanced(self) -> bool:
        """Return True if neither mode is rare."""
        return self.share > MIN_SHARE


def measure_bimodality(values: Sequence[float], median: float) -> Bimodality:
    """Find the widest gap in at least two values, given in the order of measurement."""
    samples = numpy.asarray(values, dtype=float)
    ordered = numpy.sort(samples)
    outer = len(ordered) // TRIM
    gaps = numpy.diff(ordered[outer : len(ordered) - outer])
    widest = int(gaps.argmax())
    slow = (samples > ordered[outer + widest]).astype(float)
    share = min(float(slow.mean()), 1.0 - float(slow.mean()))
    return Bimodality(
        float(gaps[widest]) / median if median else 0.0, share, estimate_autocorrelation_time(slow)
    )
