"""Contrasts: the distance between two sides in replication units, with its variance.

The unit decides what a verdict is about. Within one sweep it is the process: all share that run.
Across sweeps it is the sweep: whatever a run does to all processes of a cell (frequency,
neighbours, placement of a page cache) is in the difference of two runs, and no number of processes
averages it out (S. H. Hurlbert, Pseudoreplication and the design of ecological field experiments,
Ecological Monographs 54 (1984) 187-211). Neighbours within a sweep are pairs, whose differences are
free of what both share.

Values are logarithms of times, on the last axis; all axes before it are cells and comparisons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ReplicationUnit(StrEnum):
    """The unit of replication."""

    PROCESS = "process"
    PAIR = "pair of processes"
    SWEEP = "sweep"


@dataclass(frozen=True)
class Contrast:
    """Candidate minus base. Its variance is `factor` times that of a unit.

    degrees: of the unit's variance; 0: unknown.
    """

    distance: Array
    variance: Array
    degrees: Array | float
    factor: Array | float


def stack_contrasts(contrasts: Sequence[Contrast]) -> Contrast:
    """Stack contrasts of one cell each into one of all cells."""
    names = ("distance", "variance", "degrees", "factor")
    return Contrast(*(np.array([float(getattr(one, name)) for one in contrasts]) for name in names))


def contrast_processes(base: Array, candidate: Array) -> Contrast:
    """Contrast two sides of independent processes.

    The variance is weighted as in Welch's test, so that the sides may vary otherwise; its degrees
    are Satterthwaite's for sides that vary alike (Biometrics 2 (1946) 110-114). With as many on
    either side it is Student's test. A side of one process is taken to vary as the other does.
    """
    sides = [side for side in (base, candidate) if side.shape[-1] > 1]
    weights = [1 / side.shape[-1] for side in sides]
    variance: Array = np.zeros(base.shape[:-1])
    for side, weight in zip(sides, weights, strict=True):
        variance = variance + weight / sum(weights) * side.var(axis=-1, ddof=1)
    shares = [
        (weight / sum(weights)) ** 2 / (side.shape[-1] - 1)
        for side, weight in zip(sides, weights, strict=True)
    ]
    return Contrast(
        _distance(base, candidate), variance, _inverse(sum(shares)), _factor(base, candidate)
    )


def contrast_pairs(base: Array, candidate: Array) -> Contrast:
    """Compute the contrast of paired units: equal positions belong together."""
    differences = candidate - base
    count = differences.shape[-1]
    variance = differences.var(axis=-1, ddof=1) if count > 1 else np.zeros(base.shape[:-1])
    return Contrast(differences.mean(axis=-1), np.asarray(variance), count - 1.0, 1 / count)


def contrast_sweeps(base: Array, candidate: Array, past: Sequence[Array]) -> Contrast:
    """Compute the contrast of sweep levels, all of the same variance.

    past: levels of other sweeps, oldest first, one array per node. Their variance is half the mean
    square of successive differences, which an old step affects only once (J. von Neumann et al.,
    The mean square successive difference, Annals of Mathematical Statistics 12 (1941) 153-162): k
    values have 2 (k - 1)^2 / (3k - 4) degrees.
    """
    parts = [
        (side.var(axis=-1, ddof=1), side.shape[-1] - 1.0)
        for side in (base, candidate)
        if side.shape[-1] > 1
    ]
    for levels in past:
        if levels.shape[-1] > 1:
            squares = np.diff(levels, axis=-1) ** 2
            parts.append((squares.mean(axis=-1) / 2, successive_degrees(levels.shape[-1])))
    return Contrast(
        _distance(base, candidate),
        *pool_variances(parts, base.shape[:-1]),
        _factor(base, candidate),
    )


def successive_degrees(count: int) -> float:
    """Return the degrees of freedom of the variance by successive differences."""
    return 2 * (count - 1) ** 2 / (3 * count - 4) if count > 1 else 0.0


def pool_variances(
    parts: list[tuple[Array, float]], shape: tuple[int, ...] = ()
) -> tuple[Array, float]:
    """Pool variances, each weighted by its degrees; return the variance and the degrees."""
    degrees = math.fsum(freedom for _, freedom in parts)
    total: Array = np.zeros(shape)
    for variance, freedom in parts:
        total = total + variance * freedom
    return np.asarray(total / degrees if degrees else total), degrees


def _distance(base: Array, candidate: Array) -> Array:
    return np.asarray(candidate.mean(axis=-1) - base.mean(axis=-1))


def _factor(base: Array, candidate: Array) -> float:
    sizes: tuple[int, int] = (base.shape[-1], candidate.shape[-1])
    return 1 / sizes[0] + 1 / sizes[1]


def _inverse(value: float) -> float:
    return 1 / value if value else 0.0
