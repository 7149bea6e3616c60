"""Whether samples are of two kinds, one faster by a gap: the median then hangs on their shares.

How often each kind comes is known only as well as the kinds are mixed: where one lasts, a hundred
samples may hold three stretches of it. What is looked for is the widest gap between neighbours in
size; the twentieth at either end is left out, where gaps are wide by themselves.
"""

from typing import NamedTuple, Sequence

import numpy

from velodrome.adapters.timing.autocorrelation import worth_one

OUTER = 20  # one in so many at either end
MINOR = 0.2  # the share of the rarer kind, from which on the median hangs on it


class Kinds(NamedTuple):
    """gap: relative to the median. share: of the rarer kind. inflated: samples worth one of it."""

    gap: float
    share: float
    inflated: float

    @property
    def is_even(self) -> bool:
        """Whether neither is rare."""
        return self.share > MINOR


def kinds(values: Sequence[float], median: float) -> Kinds:
    """Of at least two values, in the order in which they were taken."""
    taken = numpy.asarray(values, dtype=float)
    ordered = numpy.sort(taken)
    outer = len(ordered) // OUTER
    gaps = numpy.diff(ordered[outer : len(ordered) - outer])
    widest = int(gaps.argmax())
    slow = (taken > ordered[outer + widest]).astype(float)
    share = min(float(slow.mean()), 1.0 - float(slow.mean()))
    return Kinds(float(gaps[widest]) / median if median else 0.0, share, worth_one(slow))
