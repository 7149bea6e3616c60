"""Cells whose processes fall into two modes, and differences that this may explain by chance.

Memory placement or an autotuner's choice can put a process in one of two modes, e.g. 5 % apart.
Three processes in one mode against three in the other look like a step, and the cell itself does
not show why: with equal modes this happens to 2^(1 - n - m) of all cells, 1 of 32 with 3 against 3
and 1 of 512 with 5 against 5. But other cells of the comparison, and other sweeps of the cell, show
mixtures. So the number of bimodal cells is estimated; where a separation by chance is likelier than
CHANCE, steps no larger than the gap between modes are not called.

A cell looks bimodal if a cut of its sorted values leaves little of their sum of squares around the
two means (R. A. Fisher's criterion, as in W. D. Fisher, On grouping for maximum homogeneity, JASA
53 (1958) 789-798), less than normal values do: the null distribution does not depend on their
spread, and is simulated. A cut between the sides does not count: a step looks like that. Each part
has at least two values: a single one is interference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Counts = int | NDArray[np.int64]

SUSPECT = 0.02  # p of a cut, of one cell of normal values
SURE = 0.1  # the same, of all cells of a comparison together
CLEAR = 0.1  # the same, of one cell: its gap counts
CHANCE = 0.005  # of a step by a chance separation of modes, in a whole comparison
BEYOND = 1.25  # times the gap between modes: a larger step is not such a separation
MOST_VARIABLE = 4  # one of so many cells, those that vary most, are tested together
FEWEST = 2  # values on either side of a cut
SIMULATED = 40_000
MOST_REPEATS = 20
MOST_GROUPS = 10  # newest sweeps of the past


@dataclass(frozen=True)
class Cut:
    """The best cut of each cell's values in two. p: of so clear a cut by chance.

    p is 1 for a cut between the sides. gap: between the means of the two parts.
    """

    p: Array
    gap: Array

    @property
    def suspect(self) -> Bools:
        """The cells that look bimodal."""
        return np.asarray(self.p <= SUSPECT)


@dataclass(frozen=True)
class ProcessBimodality:
    """The number of bimodal cells of each comparison, and the gap between their modes."""

    cells: Array
    gap: Array


def find_best_cut(base: Array, candidate: Array) -> Cut:
    """Find the best cut of both sides' logarithms (last axis). p is 1 for too few values."""
    count = base.shape[-1] + candidate.shape[-1]
    if count < 2 * FEWEST:
        nothing = np.zeros(base.shape[:-1])
        return Cut(nothing + 1.0, nothing)
    pooled = np.concatenate([base, candidate], axis=-1)
    order = np.argsort(pooled, axis=-1)
    left, gap, rest = _cut(np.take_along_axis(pooled, order, axis=-1))
    of_candidate = np.cumsum(order >= base.shape[-1], axis=-1)
    below = np.take_along_axis(of_candidate, (left - 1)[..., None], axis=-1)[..., 0]
    is_step = ((below == 0) & (left == base.shape[-1])) | (
        (below == left) & (left == candidate.shape[-1])
    )
    p = (np.searchsorted(_simulate_shares(count), rest) + 1) / (SIMULATED + 1)
    return Cut(np.where(is_step, 1.0, p), gap)


def find_cut_among_sweeps(groups: Sequence[Array]) -> Cut:
    """Find the best cut of one cell's processes by sweep. p is 1 unless two sweeps are mixed."""
    newest = groups[-MOST_GROUPS:]
    pooled = np.concatenate(newest)
    if len(pooled) < 2 * FEWEST:
        return Cut(np.array(1.0), np.array(0.0))
    ordered = np.sort(pooled)
    left, gap, rest = _cut(ordered)
    border = (ordered[left - 1] + ordered[left]) / 2
    mixed = sum(bool(group.min() < border < group.max()) for group in newest)
    p = (np.searchsorted(_simulate_shares(len(pooled)), rest) + 1) / (SIMULATED + 1)
    return Cut(np.asarray(p if mixed > 1 else 1.0), np.asarray(gap))


def estimate_bimodality(cut: Cut, variances: Array) -> ProcessBimodality:
    """Estimate the number of bimodal cells; cells are on the last axis.

    It is the largest of three: cells that are bimodal with confidence; suspects beyond chance by
    two standard errors; and, if the most variable cells together are less normal than chance allows
    (Fisher's combination of their p), the clear ones among them.
    """
    count = cut.p.shape[-1]
    sure = (cut.p <= SURE / count).sum(axis=-1)
    by_chance = SUSPECT * count
    beyond = (cut.p <= SUSPECT).sum(axis=-1) - by_chance - 2 * np.sqrt(by_chance)
    found = np.maximum.reduce([sure, beyond, _count_among_most_variable(cut.p, variances)])
    gap = np.where(cut.p <= CLEAR, cut.gap, 0.0).max(axis=-1)
    return ProcessBimodality(np.maximum(found, 0.0), gap)


def _count_among_most_variable(p: Array, variances: Array) -> Array:
    few = max(2, p.shape[-1] // MOST_VARIABLE)
    widest = np.argsort(-variances, axis=-1)[..., :few]
    p_of_widest = np.take_along_axis(p, widest, axis=-1)
    together = gammaincc(p_of_widest.shape[-1], -np.log(p_of_widest).sum(axis=-1))
    clear = (p_of_widest <= CLEAR).sum(axis=-1) - CLEAR * p_of_widest.shape[-1]
    return np.where(together <= 0.05, clear, 0.0)


def may_be_chance(
    found: ProcessBimodality, distance: Array, base: Counts, candidate: Counts
) -> Bools:
    """Return True for cells whose step may be a separation of modes by chance.

    base, candidate: processes of each.
    """
    is_likely = found.cells[..., None] * 2.0 ** (1 - base - candidate) > CHANCE
    return np.asarray(is_likely & (np.abs(distance) <= BEYOND * found.gap[..., None]))


def count_repeats_needed(cells: float) -> int:
    """Return the repeats per side that make such chance separations negligible."""
    return next(
        (n for n in range(2, MOST_REPEATS) if cells * 2.0 ** (1 - 2 * n) <= CHANCE), MOST_REPEATS
    )


def _cut(ordered: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Return the size of the lower part, the gap of the means, and the share of squares left."""
    count = ordered.shape[-1]
    centred = ordered - ordered.mean(axis=-1, keepdims=True)
    sums = np.cumsum(centred, axis=-1)
    sizes = np.arange(FEWEST, count - FEWEST + 1)
    below = sums[..., FEWEST - 1 : count - FEWEST]
    between = below**2 * count / (sizes * (count - sizes))
    at = between.argmax(axis=-1)
    left = sizes[at]
    best = np.take_along_axis(between, at[..., None], axis=-1)[..., 0]
    total = (centred**2).sum(axis=-1)
    chosen = np.take_along_axis(below, at[..., None], axis=-1)[..., 0]
    gap = -chosen / left - chosen / (count - left)
    return left, gap, np.where(total > 0, 1 - best / np.where(total > 0, total, 1.0), 1.0)


@lru_cache(maxsize=64)
def _simulate_shares(count: int) -> Array:
    """Simulate the shares left of normal values, sorted."""
    values = np.random.default_rng(0).standard_normal((SIMULATED, count))
    return np.sort(_cut(np.sort(values, axis=-1))[2])
