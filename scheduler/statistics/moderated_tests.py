"""Moderated t-tests of all cells, with Holm's correction for their number.

The unit's variance is moderated across cells (velodrome.scheduler.statistics.moderation), and
Holm's correction (Scandinavian Journal of Statistics 6 (1979) 65-70) bounds the probability of any
false verdict. Two more conditions:

- the ratio is off by at least `least`;
- bimodality (velodrome.scheduler.statistics.bimodality) does not explain the step by chance.

Arrays have the cells of one comparison on their last axis.
"""

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
from velodrome.scheduler.statistics.moderation import Moderated, moderate


@dataclass(frozen=True)
class Errors:
    """The standard error of each cell's distance, and its degrees of freedom."""

    error: Array
    degrees: Array


def moderated(contrast: Contrast) -> Moderated:
    """Moderate the variances of cells together; degrees must be above 0."""
    return moderate(contrast.variance, contrast.degrees)


def p_values(contrast: Contrast, together: Moderated, floor: Array | float, apart: Bools) -> Array:
    """Compute each cell's two-sided p without correction. together: the moderated contrast.

    floor: the least variance that the units' own samples leave open. apart: cells unlike all
    others, which the others may make less sure, never surer.
    """
    distance, factor = contrast.distance, contrast.factor
    shared = together.two_sided(distance, factor, floor)
    own_error = np.sqrt(np.maximum(contrast.variance, floor) * factor)
    own = two_sided(distance, own_error, np.asarray(contrast.degrees, dtype=float))
    return np.asarray(np.where(apart, np.maximum(shared, own), shared))


def errors(contrast: Contrast, together: Moderated, floor: Array | float, apart: Bools) -> Errors:
    """Compute standard errors with which Student's t at 5 % agrees with `p_values`."""
    own = np.maximum(contrast.variance, floor)
    used = together.variance(floor)
    return Errors(
        np.sqrt(np.where(apart, np.maximum(used, own), used) * contrast.factor),
        np.where(apart, contrast.degrees, together.freedom(floor)),
    )


@dataclass(frozen=True)
class Judged:
    """Test results. luck: cells whose step bimodality may explain by chance."""

    p: Array
    together: Moderated
    luck: Bools
    kinds: Kinds


def judged(
    contrast: Contrast, cut: Cut, base: Counts, candidate: Counts, floor: Array | float = 0.0
) -> Judged:
    """Test cells that are moderated together.

    cut: the cut of each cell's processes. base, candidate: their number. floor: as of `p_values`.
    """
    found = kinds(cut, contrast.variance)
    luck = may_be_luck(found, contrast.distance, base, candidate)
    together = moderated(contrast)
    return Judged(p_values(contrast, together, floor, cut.suspect), together, luck, found)


def called(p: Array, log_ratio: Array, luck: Bools, *, least: float, alpha: float) -> Bools:
    """Return True for faster or slower cells. log_ratio: of the displayed numbers."""
    is_sure = holm_adjusted(p) <= alpha
    return np.asarray(is_sure & (np.abs(log_ratio) >= np.log1p(least)) & ~luck)


def two_sided(distance: Array, error: Array, degrees: Array) -> Array:
    """Compute Student's two-sided p. Error 0: all values are equal, the clock is too coarse."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(distance == 0, 0.0, np.abs(distance) / error)
    return np.asarray(2 * stdtr(degrees, -t))


def holm_adjusted(p_values: Array) -> Array:
    """Adjust p values by Holm's method over the last axis."""
    count = p_values.shape[-1]
    order = np.argsort(p_values, axis=-1)
    raised = np.take_along_axis(p_values, order, axis=-1) * (count - np.arange(count))
    worst = np.maximum.accumulate(np.minimum(raised, 1.0), axis=-1)
    found = np.empty_like(worst)
    np.put_along_axis(found, order, worst, axis=-1)
    return found
