"""Autocorrelation of runs and the error of a mean, computed by hand and simulated."""

import math
import random

import numpy as np
import pytest
from scipy.linalg import null_space

from velodrome.scheduler.history import autocorrelation
from velodrome.scheduler.history.autocorrelation import (
    GRID,
    INDEPENDENT,
    Dependence,
    build_correlations,
    build_design,
    estimate_dependences,
)
from velodrome.scheduler.history.changepoints import estimate_spread
from velodrome.scheduler.history.variance_pooling import (
    MOST_DEGREES,
    Prior,
    estimate_prior,
    estimate_priors,
)

HALF = Dependence(((0.5, 1.0),))


def make_levels(rho: float, count: int, seed: int, spread: float = 0.01) -> list[float]:
    draw = random.Random(seed)
    value, found = draw.gauss(0, spread), []
    for _ in range(count):
        found.append(value)
        value = rho * value + math.sqrt(1 - rho**2) * draw.gauss(0, spread)
    return found


def test_the_mean_of_three_runs_with_correlation_one_half_has_11_sixths_of_the_variance() -> None:
    # By hand: 1 + 2 (2/3 * 1/2 + 1/3 * 1/4) = 11/6.
    assert HALF.inflation(3) == pytest.approx(11 / 6)
    assert INDEPENDENT.inflation(3) == 1


def test_a_run_differs_less_from_its_neighbour_than_from_a_distant_run() -> None:
    # By hand: 1 + 1 - 2 * 1/2, and 1 + 1 - 2 * 1/8.
    assert HALF.compute_error((-1, 1)) == pytest.approx(1)
    assert HALF.compute_error((-1, 0, 0, 1)) == pytest.approx(math.sqrt(1.75))
    assert INDEPENDENT.compute_error((-1, 1)) == pytest.approx(math.sqrt(2))


def test_the_spread_of_two_correlated_runs_is_larger_than_their_distance_suggests() -> None:
    # By hand: their difference 2 has the variance 2 s^2 (1 - 1/2), so s is 2; independent, sqrt(2).
    assert estimate_spread((0.0, 2.0), (2,), HALF) == pytest.approx((2, 1))
    assert estimate_spread((0.0, 2.0), (2,), INDEPENDENT) == pytest.approx((math.sqrt(2), 1))


def test_the_restricted_likelihood_is_that_of_contrasts_without_levels_and_slope() -> None:
    """Patterson and Thompson define it by contrasts in which the means do not appear."""
    levels, bounds = make_levels(0.6, 14, 3), (6, 14)
    found, _ = autocorrelation._compute_likelihoods(levels, bounds)
    contrasts = null_space(build_design(14, bounds).T)
    left = contrasts.T @ np.array(levels)
    logs = []
    for fading, share in GRID:
        given = Dependence(((fading, share),)) if share else INDEPENDENT
        matrix = contrasts.T @ build_correlations(given, 14) @ contrasts
        squares = left @ np.linalg.solve(matrix, left)
        logs.append(-0.5 * (np.linalg.slogdet(matrix)[1] + len(left) * math.log(squares)))
    assert found == pytest.approx(np.exp(np.array(logs) - max(logs)))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.7])
def test_many_cells_together_show_the_autocorrelation_of_each(rho: float) -> None:
    series = [(make_levels(rho, 60, seed), (60,)) for seed in range(12)]
    found = [one.lag1 for one in estimate_dependences(series)]
    assert np.median(found) == pytest.approx(rho, abs=0.15)


def test_a_slow_drift_and_a_known_step_add_little_autocorrelation() -> None:
    calm = [(make_levels(0, 40, seed), (40,)) for seed in range(6)]
    crept, stepped = [], []
    for seed in range(10, 16):
        levels = make_levels(0, 40, seed)
        creep = [level + 0.003 * max(0, at - 15) for at, level in enumerate(levels)]
        step = [level + 0.3 * (at >= 20) for at, level in enumerate(levels)]
        *_, one, other = estimate_dependences([*calm, (creep, (40,)), (step, (20, 40))])
        crept.append(one.lag1)
        stepped.append(other.lag1)
        assert np.corrcoef(creep[:-1], creep[1:])[0, 1] > 0.7  # the plain estimate
    assert np.mean(crept) < 0.3
    assert np.mean(stepped) < 0.2


def test_a_few_runs_alone_give_about_the_prior() -> None:
    (alone,) = estimate_dependences([(make_levels(0, 5, 1), (5,))])
    (nothing,) = estimate_dependences([((1.0,), (1,))])
    assert 0.05 < nothing.lag1 < 0.6
    assert 0.05 < alone.lag1 < 0.7


def test_a_spread_is_shrunk_towards_that_of_others_by_their_degrees() -> None:
    # By hand: (4 * 0.02^2 + 6 * 0.01^2) / 10 = 0.00022.
    spread, degrees = Prior(0.02, 4).moderate(0.01, 6)
    assert spread == pytest.approx(math.sqrt(0.00022))
    assert degrees == 10


def test_cells_with_equal_spreads_give_a_prior_of_the_largest_degrees() -> None:
    # By hand: equal variances with as many degrees as the prior has leave nothing to correct.
    found = estimate_prior([(0.01, MOST_DEGREES)] * 5)
    assert (found.spread, found.degrees) == (pytest.approx(0.01), MOST_DEGREES)
    assert estimate_prior([(0.01, 10.0)] * 2) == Prior()


def test_the_degrees_of_the_prior_are_estimated_from_cells_that_follow_it() -> None:
    """Smyth's model: the variances are scaled inverse chi-square of 6 degrees around 0.01^2."""
    draw = np.random.default_rng(1)
    true = 0.01 * np.sqrt(6 / draw.chisquare(6, 2000))
    spreads = true * np.sqrt(draw.chisquare(10, 2000) / 10)
    found = estimate_prior([(float(spread), 10.0) for spread in spreads])
    assert found.degrees == pytest.approx(6, rel=0.25)
    assert found.spread == pytest.approx(0.01, rel=0.05)


def test_the_prior_of_a_cell_comes_from_other_cells_only() -> None:
    cells = ["a", "a", "b", "b", "c", "c"]
    spreads = [(1.0, 8.0)] * 2 + [(0.01, 8.0)] * 4
    of_a, _, of_b, *_ = estimate_priors(cells, spreads)
    assert of_a == estimate_prior([(0.01, 8.0)] * 4)
    assert of_a.spread < 0.02
    assert of_b.degrees < of_a.degrees
