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
    ProcessBimodality,
    estimate_bimodality,
    may_be_chance,
)
from velodrome.scheduler.statistics.contrasts import Contrast
from velodrome.scheduler.statistics.moderation import ModeratedVariances, moderate


@dataclass(frozen=True)
class StandardErrors:
    """The standard error of each cell's distance, and its degrees of freedom."""

    error: Array
    degrees: Array


def moderate_contrast(contrast: Contrast) -> ModeratedVariances:
    """Moderate the variances of cells together; degrees must be above 0."""
    return moderate(contrast.variance, contrast.degrees)


def compute_p_values(
    contrast: Contrast, together: ModeratedVariances, floor: Array | float, apart: Bools
) -> Array:
    """Compute each cell's two-sided p without correction. together: the moderated contrast.

    floor: the least variance that the units' own samples leave open. apart: cells unlike all
    others, which the others may make less sure, never surer.
    """
    distance, factor = contrast.distance, contrast.factor
    shared = together.two_sided(distance, factor, floor)
    own_error = np.sqrt(np.maximum(contrast.variance, floor) * factor)
    own = two_sided_p(distance, own_error, np.asarray(contrast.degrees, dtype=float))
    return np.asarray(np.where(apart, np.maximum(shared, own), shared))


def compute_standard_errors(
    contrast: Contrast, together: ModeratedVariances, floor: Array | float, apart: Bools
) -> StandardErrors:
    """Compute standard errors with which Student's t at 5 % agrees with `p_values`."""
    own = np.maximum(contrast.variance, floor)
    used = together.variance(floor)
    return StandardErrors(
        np.sqrt(np.where(apart, np.maximum(used, own), used) * contrast.factor),
        np.where(apart, contrast.degrees, together.freedom(floor)),
    )


@dataclass(frozen=True)
class CellTests:
    """Test results. by_chance: cells whose step bimodality may explain by chance."""

    p: Array
    together: ModeratedVariances
    by_chance: Bools
    bimodality: ProcessBimodality


def run_tests(
    contrast: Contrast, cut: Cut, base: Counts, candidate: Counts, floor: Array | float = 0.0
) -> CellTests:
    """Test cells that are moderated together.

    cut: the cut of each cell's processes. base, candidate: their number. floor: as of `p_values`.
    """
    found = estimate_bimodality(cut, contrast.variance)
    by_chance = may_be_chance(found, contrast.distance, base, candidate)
    together = moderate_contrast(contrast)
    return CellTests(
        compute_p_values(contrast, together, floor, cut.suspect), together, by_chance, found
    )


def call_cells(
    p: Array, log_ratio: Array, by_chance: Bools, *, least: float, alpha: float
) -> Bools:
    """Return True for faster or slower cells. log_ratio: of the displayed numbers."""
    is_sure = adjust_by_holm(p) <= alpha
    return np.asarray(is_sure & (np.abs(log_ratio) >= np.log1p(least)) & ~by_chance)


def two_sided_p(distance: Array, error: Array, degrees: Array) -> Array:
    """Compute Student's two-sided p. Error 0: all values are equal, the clock is too coarse."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(distance == 0, 0.0, np.abs(distance) / error)
    return np.asarray(2 * stdtr(degrees, -t))


def adjust_by_holm(p_values: Array) -> Array:
    """Adjust p values by Holm's method over the last axis."""
    count = p_values.shape[-1]
    order = np.argsort(p_values, axis=-1)
    raised = np.take_along_axis(p_values, order, axis=-1) * (count - np.arange(count))
    worst = np.maximum.accumulate(np.minimum(raised, 1.0), axis=-1)
    found = np.empty_like(worst)
    np.put_along_axis(found, order, worst, axis=-1)
    return found
