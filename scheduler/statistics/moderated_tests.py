"""The test that decides: moderated t over all cells, corrected for their number.

The unit's variance is moderated across cells (velodrome.scheduler.statistics.moderation), t has the
moderated degrees (Smyth 2004, section 4), and Holm's correction (Scandinavian Journal of Statistics
6 (1979) 65-70) bounds the probability that any verdict at all is false. Three more conditions:

- the cell's own units say so, too, at OWN, without the others': what is borrowed may not be all;
- the ratio is off by at least `least`;
- no luck of kinds (velodrome.scheduler.statistics.bimodality) makes such steps.

Arrays have the cells of one comparison on their last axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from velodrome.scheduler.statistics.bimodality import (
    Array,
    Bools,
    Counts,
    Cut,
    Kinds,
    kinds,
    may_be_luck,
)
from velodrome.scheduler.statistics.contrasts import Contrast
from velodrome.scheduler.statistics.moderation import moderate

OWN = 0.05


@dataclass(frozen=True)
class Tested:
    """p: two-sided, of each cell as if it were the only one. own_p: without the other cells.

    error: the standard error of the distance, with its degrees.
    """

    p: Array
    own_p: Array
    error: Array
    degrees: Array

    def at(self, cell: int) -> "Tested":
        """Of one cell."""
        return Tested(self.p[cell], self.own_p[cell], self.error[cell], self.degrees[cell])


def together(tests: Sequence[Tested]) -> Tested:
    """Of one cell each, as one of all of them."""
    names = ("p", "own_p", "error", "degrees")
    return Tested(*(np.array([float(getattr(one, name)) for one in tests]) for name in names))


def tested(
    contrast: Contrast,
    floor: Array | float,
    apart: Bools,
) -> Tested:
    """Of contrasts with degrees above 0. floor: what units' own samples leave open, at least.

    apart: cells that are like no others: their variance is never drawn down.
    """
    distance, variance, factor = contrast.distance, contrast.variance, contrast.factor
    own_degrees = np.asarray(contrast.degrees, dtype=float)
    shared = moderate(variance, own_degrees)
    used = np.where(apart, np.maximum(shared.variance, variance), shared.variance)
    freedom = np.where(apart, own_degrees, shared.degrees)
    error = np.sqrt(np.maximum(used, floor) * factor)
    own_error = np.sqrt(np.maximum(variance, floor) * factor)
    return Tested(
        two_sided(distance, error, freedom),
        two_sided(distance, own_error, own_degrees),
        error,
        freedom,
    )


@dataclass(frozen=True)
class Judged:
    """luck: of which cells a step may be one of kinds, that were found in the whole comparison."""

    test: Tested
    luck: Bools
    kinds: Kinds


def judged(
    contrast: Contrast, cut: Cut, base: Counts, candidate: Counts, floor: Array | float = 0.0
) -> Judged:
    """Of cells that are moderated together.

    cut: how clearly the processes of each are of two kinds. base, candidate: how many there are.
    floor: as of `tested`.
    """
    found = kinds(cut, contrast.variance)
    luck = may_be_luck(found, contrast.distance, base, candidate)
    return Judged(tested(contrast, floor, cut.suspect), luck, found)


def called(found: Tested, log_ratio: Array, luck: Bools, *, least: float, alpha: float) -> Bools:
    """Which cells are faster or slower. log_ratio: of the numbers that are shown."""
    is_sure = (holm_adjusted(found.p) <= alpha) & (found.own_p <= OWN)
    return np.asarray(is_sure & (np.abs(log_ratio) >= np.log1p(least)) & ~luck)


def two_sided(distance: Array, error: Array, degrees: Array) -> Array:
    """Student's. An error of 0: all values are equal, a clock too coarse to see anything."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(distance == 0, 0.0, np.abs(distance) / error)
    return np.asarray(2 * stdtr(degrees, -t))


def holm_adjusted(p_values: Array) -> Array:
    """Each as if it were the only one: below alpha, it holds among all on the last axis."""
    count = p_values.shape[-1]
    order = np.argsort(p_values, axis=-1)
    raised = np.take_along_axis(p_values, order, axis=-1) * (count - np.arange(count))
    worst = np.maximum.accumulate(np.minimum(raised, 1.0), axis=-1)
    found = np.empty_like(worst)
    np.put_along_axis(found, order, worst, axis=-1)
    return found
