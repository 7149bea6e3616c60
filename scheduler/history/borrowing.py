"""What the other cells of a fleet tell of how much a cell's nights vary, before its own nights do.

Moderated variances: G. K. Smyth, Linear models and empirical Bayes methods for assessing
differential expression in microarray experiments, Statistical Applications in Genetics and
Molecular Biology 3 (2004), article 3, section 6.2. The variance of a cell is drawn towards that of
the others by a prior worth `degrees` nights, which are the fewer the more the others differ. A
cell borrows of the others only, so that its own step does not spoil what it is held against.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

FEWEST_LENDERS = 3  # series
MOST_DEGREES = 30.0  # a prior that is told by a few cells is worth no more nights than that


@dataclass(frozen=True)
class Prior:
    """Spread of a night as the other cells have it, worth so many degrees of freedom; 0: nothing."""

    spread: float = 0.0
    degrees: float = 0.0

    def moderated(self, spread: float, degrees: float) -> tuple[float, float]:
        """A cell's own spread with its degrees, drawn towards this one."""
        total = self.degrees + degrees
        if not total:
            return spread, degrees
        squares = self.degrees * self.spread**2 + degrees * spread**2
        return math.sqrt(squares / total), total


NO_PRIOR = Prior()
Spread = tuple[float, float]  # of a series, with its degrees


def priors(cells: Sequence[Hashable], spreads: Sequence[Spread]) -> tuple[Prior, ...]:
    """For each series what those of other cells tell. cells: whose each series is."""
    of_others: dict[Hashable, Prior] = {}
    for cell in cells:
        if cell not in of_others:
            pairs = zip(cells, spreads, strict=True)
            of_others[cell] = prior([spread for whose, spread in pairs if whose != cell])
    return tuple(of_others[cell] for cell in cells)


def prior(spreads: Sequence[Spread]) -> Prior:
    """Of spreads with degrees above 0; others are left out."""
    known = [(spread, degrees) for spread, degrees in spreads if degrees > 0]
    if len(known) < FEWEST_LENDERS:
        return NO_PRIOR
    from scipy.special import digamma, polygamma  # late: slow to import

    logs = [
        2 * math.log(spread) - float(digamma(degrees / 2)) + math.log(degrees / 2)
        for spread, degrees in known
    ]
    luck = fmean(float(polygamma(1, degrees / 2)) for _, degrees in known)
    worth = _degrees(variance(logs) - luck)
    level = fmean(logs) + float(digamma(worth / 2)) - math.log(worth / 2)
    return Prior(math.exp(level / 2), worth)


def _degrees(excess: float) -> float:
    """Whose trigamma of a half is `excess`, at most MOST_DEGREES."""
    from scipy.optimize import brentq
    from scipy.special import polygamma

    if excess <= float(polygamma(1, MOST_DEGREES / 2)):
        return MOST_DEGREES
    root = brentq(
        lambda half: float(polygamma(1, half)) - excess, 1 / (1 + excess) / 2, MOST_DEGREES / 2
    )
    return 2 * float(root)
