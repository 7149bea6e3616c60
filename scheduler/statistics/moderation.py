"""Variances of many cells, each drawn towards the common one.

A variance of three repeats is known to a factor of several; thirty cells together say how much a
process varies on this fleet. Each cell's variance is taken as drawn from a common distribution, a
scaled inverse chi-square, and what a cell has itself is averaged with it: G. K. Smyth, Linear
models and empirical Bayes methods for assessing differential expression, Stat. Appl. Genet. Mol.
Biol. 3 (2004), article 3, sections 3 and 6.2, the estimates by the moments of log variances. As in
limma, the degrees are never more than all cells have together.

Two things differ from it, both on the side of caution:

- With few cells the prior degrees are badly known, and too many of them make false verdicts where
  cells differ. What log variances differ by beyond chance is raised by one standard error.
- A few wild cells neither widen the prior nor are drawn to it. In the spirit of B. Phipson et al.,
  Robust hyperparameter estimation protects against hypervariable genes, Ann. Appl. Stat. 10 (2016)
  946-963: outliers are left out of the estimates, and a cell's prior degrees are multiplied by an
  estimate of the probability that it is no outlier.

All arrays have the cells on their last axis, so that one comparison and ten thousand simulated ones
go through the same functions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, fdtrc, polygamma

Array = NDArray[np.float64]

FEWEST = 3  # cells: two have nothing in common that could be told
CAUTION = 1.0  # standard errors
OUTLIER = 0.05  # by chance, in any cell: what is less likely is left out of the prior
ROUNDS = 2  # in which outliers are looked for
FINEST = 1e-5  # times the median variance; zero has no logarithm, and is a clock's, not a cell's


@dataclass(frozen=True)
class Prior:
    """What cells have in common: of each comparison, without the axis of cells.

    degrees 0: nothing is known; infinite: all cells have this variance.
    """

    variance: Array
    degrees: Array


@dataclass(frozen=True)
class Moderated:
    """Of each cell."""

    variance: Array
    degrees: Array


def moderate(variances: ArrayLike, degrees: ArrayLike) -> Moderated:
    """variances: of cells on the last axis; degrees: theirs, above 0, one for each or for all."""
    own = _apart_from_zero(np.asarray(variances, dtype=float))
    freedom = np.broadcast_to(np.asarray(degrees, dtype=float), own.shape[-1:])
    if own.shape[-1] < FEWEST:
        return Moderated(own, np.broadcast_to(freedom, own.shape))
    prior = robust_prior(own, freedom)
    return drawn_towards(prior, own, freedom)


def robust_prior(variances: Array, degrees: Array) -> Prior:
    """Of all cells but the wild ones."""
    kept = np.ones(variances.shape, dtype=bool)
    prior = fitted(variances, degrees, kept)
    for _ in range(ROUNDS):
        rare = OUTLIER / variances.shape[-1]
        kept = exceeding(prior, variances, degrees) > rare
        kept |= kept.sum(axis=-1, keepdims=True) < FEWEST
        prior = fitted(variances, degrees, kept)
    return prior


def fitted(
    variances: Array, degrees: Array, kept: NDArray[np.bool_], caution: float = CAUTION
) -> Prior:
    """By moments (Smyth, section 6.2), of the cells that are kept.

    caution: standard errors, of the normal distribution, that the excess is raised by.
    """
    count = kept.sum(axis=-1)
    half = degrees / 2
    logs = np.log(variances) - digamma(half) + np.log(half)
    mean = _mean(logs, kept, count)
    between = _mean((logs - mean[..., None]) ** 2, kept, count) * count / (count - 1)
    by_chance = _mean(np.broadcast_to(polygamma(1, half), kept.shape), kept, count)
    beyond = between - by_chance
    likeliest = _degrees(beyond)
    error = between * np.sqrt(2 / (count - 1))
    of_prior = _finite(likeliest) / 2
    shift = np.where(np.isinf(likeliest), 0.0, digamma(of_prior) - np.log(of_prior))
    return Prior(np.exp(mean + shift), _degrees(beyond + caution * error))


def drawn_towards(prior: Prior, variances: Array, degrees: Array) -> Moderated:
    """The posterior variances (Smyth, section 4); wild cells stay nearer to their own."""
    everything = degrees.sum(axis=-1, keepdims=True)
    most = np.minimum(prior.degrees[..., None], everything)
    weight = most * _belonging(exceeding(prior, variances, degrees))
    common = prior.variance[..., None]
    share = weight / (weight + degrees)
    total = np.minimum(weight + degrees, everything)
    return Moderated(share * common + (1 - share) * variances, total)


def exceeding(prior: Prior, variances: Array, degrees: Array) -> Array:
    """The probability of so large a variance, by the F distribution around the prior."""
    of_prior = np.maximum(_finite(prior.degrees)[..., None], 1e-9)
    return np.asarray(fdtrc(degrees, of_prior, variances / prior.variance[..., None]))


def _belonging(p: Array) -> Array:
    """The probability that a cell is no outlier, never less for one that is less far out.

    It is the number of cells expected to be so far out over the number of those that are.
    """
    count = p.shape[-1]
    order = np.argsort(p, axis=-1)
    ranked = np.take_along_axis(p, order, axis=-1)
    chance = np.minimum(1.0, ranked * count / (np.arange(count) + 0.5))
    rising = np.maximum.accumulate(chance, axis=-1)
    found = np.empty_like(rising)
    np.put_along_axis(found, order, rising, axis=-1)
    return found


def _degrees(beyond: Array) -> Array:
    """Of the prior whose log variances differ by so much; infinite where they do not."""
    return np.where(beyond > 0, 2 * trigamma_inverse(np.where(beyond > 0, beyond, 1.0)), np.inf)


def trigamma_inverse(values: ArrayLike) -> Array:
    """Of numbers above 0, by Newton's method on 1 / trigamma (Smyth, appendix)."""
    wanted = np.asarray(values, dtype=float)
    found = 0.5 + 1 / wanted
    for _ in range(8):  # it converges from one side, quadratically
        value = polygamma(1, found)
        found = found + value * (1 - value / wanted) / polygamma(2, found)
    return np.where(wanted > 1e7, 1 / np.sqrt(wanted), np.where(wanted < 1e-6, 1 / wanted, found))


def _mean(values: Array, kept: NDArray[np.bool_], count: NDArray[np.int64]) -> Array:
    return np.asarray(np.where(kept, values, 0.0).sum(axis=-1) / count)


def _finite(values: Array) -> Array:
    """1e10 for infinity: no sum of degrees comes near."""
    return np.minimum(values, 1e10)


def _apart_from_zero(variances: Array) -> Array:
    floor = FINEST * np.median(variances, axis=-1, keepdims=True)
    return np.maximum(variances, np.maximum(floor, np.finfo(float).tiny))
