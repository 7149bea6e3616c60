"""Pooling of variances over cells: a prior for the spread of a cell's nightly runs.

Moderated variances: G. K. Smyth, Linear models and empirical Bayes methods for assessing
differential expression in microarray experiments, Statistical Applications in Genetics and
Molecular Biology 3 (2004), article 3, section 6.2. A cell's variance is shrunk towards that of the
others by a prior that counts as `degrees` runs, fewer if the others differ more. The prior comes
from the other cells only, so that a cell's own step does not affect it.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

FEWEST_SERIES = 3
MOST_DEGREES = 30.0  # runs: the largest weight of a prior that comes from a few cells


@dataclass(frozen=True)
class Prior:
    """The spread of a run in other cells, and its degrees of freedom; 0: unknown."""

    spread: float = 0.0
    degrees: float = 0.0

    def moderate(self, spread: float, degrees: float) -> tuple[float, float]:
        """Shrink a cell's own spread towards this one; return it with its degrees."""
        total = self.degrees + degrees
        if not total:
            return spread, degrees
        squares = self.degrees * self.spread**2 + degrees * spread**2
        return math.sqrt(squares / total), total


NO_PRIOR = Prior()
Spread = tuple[float, float]  # of a series, with its degrees


@dataclass(frozen=True)
class _Sums:
    """Sums over series: count, log variances, their squares, and their sampling variances."""

    count: int = 0
    logs: float = 0.0
    squares: float = 0.0
    sampling: float = 0.0

    def plus(self, other: "_Sums", sign: int = 1) -> "_Sums":
        return _Sums(
            self.count + sign * other.count,
            self.logs + sign * other.logs,
            self.squares + sign * other.squares,
            self.sampling + sign * other.sampling,
        )


def estimate_priors(cells: Sequence[Hashable], spreads: Sequence[Spread]) -> tuple[Prior, ...]:
    """Estimate for each series the prior from other cells. cells: the cell of each series."""
    own: dict[Hashable, _Sums] = {}
    total = _Sums()
    for cell, spread in zip(cells, spreads, strict=True):
        sums = _sum_up(*spread)
        own[cell] = own.get(cell, _Sums()).plus(sums)
        total = total.plus(sums)
    prior = {cell: _fit_prior(total.plus(sums, -1)) for cell, sums in own.items()}
    return tuple(prior[cell] for cell in cells)


def estimate_prior(spreads: Sequence[Spread]) -> Prior:
    """Estimate the prior from these series."""
    total = _Sums()
    for spread in spreads:
        total = total.plus(_sum_up(*spread))
    return _fit_prior(total)


def _sum_up(spread: float, degrees: float) -> _Sums:
    """Return the sums of one series; zeros if it has no degrees of freedom."""
    if degrees <= 0:
        return _Sums()
    from scipy.special import digamma, polygamma  # late: slow to import

    log = 2 * math.log(spread) - float(digamma(degrees / 2)) + math.log(degrees / 2)
    return _Sums(1, log, log**2, float(polygamma(1, degrees / 2)))


def _fit_prior(sums: _Sums) -> Prior:
    if sums.count < FEWEST_SERIES:
        return NO_PRIOR
    from scipy.special import digamma

    level = sums.logs / sums.count
    variance = (sums.squares - sums.count * level**2) / (sums.count - 1)
    degrees = _solve_degrees(variance - sums.sampling / sums.count)
    level += float(digamma(degrees / 2)) - math.log(degrees / 2)
    return Prior(math.exp(level / 2), degrees)


def _solve_degrees(excess: float) -> float:
    """Solve trigamma(degrees / 2) = excess; at most MOST_DEGREES."""
    from scipy.optimize import brentq
    from scipy.special import polygamma

    if excess <= float(polygamma(1, MOST_DEGREES / 2)):
        return MOST_DEGREES
    root = brentq(
        lambda half: float(polygamma(1, half)) - excess, 1 / (1 + excess) / 2, MOST_DEGREES / 2
    )
    return 2 * float(root)
