"""The geometric mean of the ratios of several cells, with its interval."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.scheduler.statistics.contrasts import ReplicationUnit
from velodrome.scheduler.statistics.ratio_tests import Comparison
from velodrome.scheduler.statistics.replication import half_width_factor


@dataclass(frozen=True)
class Mean:
    """The geometric mean of `count` ratios, with its 95 % interval."""

    ratio: float
    low: float
    high: float
    count: int


def compute_geometric_mean(comparisons: Iterable[Comparison]) -> Mean | None:
    """Return the geometric mean of these ratios, for these cells only; None if empty.

    The only mean of ratios that does not depend on the choice of the base: Fleming & Wallace,
    Communications of the ACM 29 (1986) 218-221. Within a sweep the cells' errors are independent:
    their variances add, and the degrees of freedom are Satterthwaite's. A run may shift all cells
    alike, so across sweeps the errors themselves add.
    """
    ratios = list(comparisons)
    if not ratios:
        return None
    count = len(ratios)
    log = math.fsum(math.log(each.ratio) for each in ratios) / count
    if not all(each.degrees for each in ratios):
        return Mean(math.exp(log), 0.0, math.inf, count)
    if any(each.unit is ReplicationUnit.SWEEP for each in ratios):
        error = math.fsum(each.error for each in ratios) / count
        degrees = min(each.degrees for each in ratios)
    else:
        error, degrees = _combine_variances(
            [(each.error**2 / count**2, each.degrees) for each in ratios]
        )
    half = half_width_factor(degrees) * error
    return Mean(math.exp(log), math.exp(log - half), math.exp(log + half), count)


def _combine_variances(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the root of a sum of variances, and its degrees. Biometrics 2 (1946) 110-114."""
    total = math.fsum(variance for variance, _ in parts)
    if not total:  # all are equal: the clock is too coarse
        return 0.0, math.fsum(degrees for _, degrees in parts)
    shares = math.fsum((variance / total) ** 2 / degrees for variance, degrees in parts)
    return math.sqrt(total), 1 / shares
