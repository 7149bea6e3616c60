"""How nights hang together, and what the error of a mean is then: by hand, and as simulated."""

import math
import random

import numpy as np
import pytest
from scipy.linalg import null_space

from velodrome.scheduler.history import autocorrelation
from velodrome.scheduler.history.autocorrelation import (
    GRID,
    NONE,
    Dependence,
    correlations,
    dependences,
    design_of,
)
from velodrome.scheduler.history.changepoints import contrast_factor, spread_around
from velodrome.scheduler.history.variance_pooling import MOST_DEGREES, Prior, prior, priors

HALF = Dependence(((0.5, 1.0),))


def nights(rho: float, count: int, seed: int, spread: float = 0.01) -> list[float]:
    draw = random.Random(seed)
    value, found = draw.gauss(0, spread), []
    for _ in range(count):
        found.append(value)
        value = rho * value + math.sqrt(1 - rho**2) * draw.gauss(0, spread)
    return found


def test_a_mean_of_three_nights_of_which_each_keeps_half_varies_by_11_sixths_of_independent_ones():
    # By hand: 1 + 2 (2/3 * 1/2 + 1/3 * 1/4) = 11/6.
    assert HALF.inflation(3) == pytest.approx(11 / 6)
    assert NONE.inflation(3) == 1


def test_a_night_differs_less_from_its_neighbour_than_from_a_distant_one() -> None:
    # By hand: 1 + 1 - 2 * 1/2, and 1 + 1 - 2 * 1/8.
    assert contrast_factor((-1, 1), HALF) == pytest.approx(1)
    assert contrast_factor((-1, 0, 0, 1), HALF) == pytest.approx(math.sqrt(1.75))
    assert contrast_factor((-1, 1), NONE) == pytest.approx(math.sqrt(2))


def test_the_spread_of_two_nights_that_hang_together_is_more_than_their_distance_shows() -> None:
    # By hand: their difference 2 has the variance 2 s^2 (1 - 1/2), so s is 2; independent, sqrt(2).
    assert spread_around((0.0, 2.0), (2,), HALF) == pytest.approx((2, 1))
    assert spread_around((0.0, 2.0), (2,), NONE) == pytest.approx((math.sqrt(2), 1))


def test_the_restricted_likelihood_is_that_of_what_levels_and_slope_leave() -> None:
    """As Patterson and Thompson define it: of contrasts in which the means do not appear."""
    levels, bounds = nights(0.6, 14, 3), (6, 14)
    found, _ = autocorrelation._likelihoods(levels, bounds)
    contrasts = null_space(design_of(14, bounds).T)
    left = contrasts.T @ np.array(levels)
    logs = []
    for fading, share in GRID:
        given = Dependence(((fading, share),)) if share else NONE
        matrix = contrasts.T @ correlations(given, 14) @ contrasts
        squares = left @ np.linalg.solve(matrix, left)
        logs.append(-0.5 * (np.linalg.slogdet(matrix)[1] + len(left) * math.log(squares)))
    assert found == pytest.approx(np.exp(np.array(logs) - max(logs)))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.7])
def test_many_cells_tell_how_much_the_nights_of_each_hang_together(rho: float) -> None:
    series = [(nights(rho, 60, seed), (60,)) for seed in range(12)]
    found = [one.lag1 for one in dependences(series)]
    assert np.median(found) == pytest.approx(rho, abs=0.15)


def test_a_creep_and_a_step_that_is_known_are_little_dependence() -> None:
    calm = [(nights(0, 40, seed), (40,)) for seed in range(6)]
    crept, stepped = [], []
    for seed in range(10, 16):
        levels = nights(0, 40, seed)
        creep = [level + 0.003 * max(0, at - 15) for at, level in enumerate(levels)]
        step = [level + 0.3 * (at >= 20) for at, level in enumerate(levels)]
        *_, one, other = dependences([*calm, (creep, (40,)), (step, (20, 40))])
        crept.append(one.lag1)
        stepped.append(other.lag1)
        assert np.corrcoef(creep[:-1], creep[1:])[0, 1] > 0.7  # what a plain estimate would say
    assert np.mean(crept) < 0.3
    assert np.mean(stepped) < 0.2


def test_a_few_nights_alone_tell_no_more_than_what_is_assumed_of_all() -> None:
    (alone,) = dependences([(nights(0, 5, 1), (5,))])
    (nothing,) = dependences([((1.0,), (1,))])
    assert 0.05 < nothing.lag1 < 0.6
    assert 0.05 < alone.lag1 < 0.7


def test_a_spread_is_drawn_towards_that_of_others_by_their_degrees() -> None:
    # By hand: (4 * 0.02^2 + 6 * 0.01^2) / 10 = 0.00022.
    spread, degrees = Prior(0.02, 4).moderated(0.01, 6)
    assert spread == pytest.approx(math.sqrt(0.00022))
    assert degrees == 10


def test_cells_that_vary_alike_lend_as_much_as_may_be_lent() -> None:
    # By hand: equal variances with as many degrees as the prior has leave nothing to correct.
    found = prior([(0.01, MOST_DEGREES)] * 5)
    assert (found.spread, found.degrees) == (pytest.approx(0.01), MOST_DEGREES)
    assert prior([(0.01, 10.0)] * 2) == Prior()


def test_the_worth_of_what_is_borrowed_is_found_again_where_cells_differ_by_it() -> None:
    """Smyth's model: variances that are scaled inverse chi-square of 6 degrees around 0.01^2."""
    draw = np.random.default_rng(1)
    true = 0.01 * np.sqrt(6 / draw.chisquare(6, 2000))
    spreads = true * np.sqrt(draw.chisquare(10, 2000) / 10)
    found = prior([(float(spread), 10.0) for spread in spreads])
    assert found.degrees == pytest.approx(6, rel=0.25)
    assert found.spread == pytest.approx(0.01, rel=0.05)


def test_a_cell_borrows_of_others_only() -> None:
    cells = ["a", "a", "b", "b", "c", "c"]
    spreads = [(1.0, 8.0)] * 2 + [(0.01, 8.0)] * 4
    of_a, _, of_b, *_ = priors(cells, spreads)
    assert of_a == prior([(0.01, 8.0)] * 4)
    assert of_a.spread < 0.02
    assert of_b.degrees < of_a.degrees
