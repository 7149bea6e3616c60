import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.special import polygamma

from velodrome.scheduler.statistics.moderation import (
    Prior,
    drawn_towards,
    fitted,
    moderate,
    trigamma_inverse,
)


def test_two_cells_have_nothing_in_common_that_could_be_told() -> None:
    found = moderate([1.0, 9.0], 4.0)
    assert found.variance == pytest.approx([1, 9])
    assert found.degrees == pytest.approx([4, 4])


def test_the_moments_of_four_log_variances_worked_by_hand() -> None:
    # Of 2 degrees each: digamma(1) = -0.577216, log(1) = 0, trigamma(1) = 1.644934. The variances
    # are e^(0, 2, 4, 6): their logs' mean 3, variance 20 / 3. Beyond chance: 5.021733, the trigamma
    # of 0.473463, so 0.946926 degrees. log s0^2 = 3 + 0.577216 + digamma(0.473463) - log(0.473463).
    variances = np.exp([0.0, 2.0, 4.0, 6.0])
    kept = np.ones(4, dtype=bool)
    prior = fitted(variances, np.full(4, 2.0), kept, caution=0.0)
    half = prior.degrees / 2
    assert polygamma(1, half) == pytest.approx(20 / 3 - 1.644934, abs=1e-6)
    expected = 3 + 0.577216 + polygamma(0, half) - np.log(half)
    assert np.log(prior.variance) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("degrees", "of_prior"), [(4.0, 6.0), (2.0, 10.0), (8.0, 3.0)])
def test_the_prior_of_cells_that_lie_like_the_f_distribution_is_found_again(
    degrees: float, of_prior: float
) -> None:
    shares = (np.arange(20_000) + 0.5) / 20_000
    variances = 2.5 * stats.f.ppf(shares, degrees, of_prior)
    found = fitted(variances, np.full(20_000, degrees), np.ones(20_000, dtype=bool), caution=0.0)
    assert float(found.variance) == pytest.approx(2.5, rel=0.01)
    assert float(found.degrees) == pytest.approx(of_prior, rel=0.03)


def test_the_posterior_is_that_of_numerical_integration() -> None:
    # 1 / E(1 / sigma^2) over prior (scaled inverse chi-square, 6 degrees, 2.0) times the likelihood
    # of a variance of 5.0 with 4 degrees.
    def weight(precision: float) -> float:
        prior = stats.chi2.pdf(6 * 2.0 * precision, 6) * 6 * 2.0
        likelihood = stats.chi2.pdf(4 * 5.0 * precision, 4) * 4 * precision
        return float(prior * likelihood)

    total = quad(weight, 0, 20)[0]
    precision = quad(lambda value: value * weight(value), 0, 20)[0] / total
    cells = np.array([5.0, *[2.0] * 30])  # among others, so that 5.0 is no outlier
    found = drawn_towards(Prior(np.array(2.0), np.array(6.0)), cells, np.full(31, 4.0))
    assert found.variance[0] == pytest.approx(1 / precision, rel=1e-3)
    assert found.degrees[0] == pytest.approx(10, rel=1e-3)


def test_cells_that_vary_alike_share_one_variance_and_no_more_degrees_than_they_have() -> None:
    own = np.array([0.5, 1.0, 1.5, 1.0, 0.75, 1.25])
    found = moderate(own, 4.0)
    assert np.ptp(found.variance) < 0.3 * np.ptp(own)
    assert np.all(found.degrees <= 24)
    assert np.all(found.degrees > 12)


def test_a_wild_cell_keeps_its_own_variance_and_leaves_the_others_theirs() -> None:
    draw = np.random.default_rng(1)
    calm = draw.chisquare(4, 40) / 4
    without, found = moderate(calm, 4.0), moderate([*calm, 400.0], 4.0)
    assert found.variance[-1] == pytest.approx(400, rel=0.01)
    assert found.degrees[-1] == pytest.approx(4, abs=0.5)
    assert found.variance[:-1] == pytest.approx(without.variance, rel=0.1)


def test_few_cells_are_trusted_less_than_many_of_the_same_kind() -> None:
    variances = [0.3, 0.6, 1.0, 1.6, 2.4]
    few, many = moderate(variances, 4.0), moderate(variances * 20, 4.0)
    assert np.all(few.degrees < many.degrees[:5])


def test_variances_of_zero_are_a_coarse_clock_and_no_reason_to_fail() -> None:
    found = moderate([0.0, 1.0, 1.0, 1.0], 4.0)
    assert np.all(np.isfinite(found.variance)) and np.all(found.variance > 0)
    assert np.all(np.isfinite(moderate([0.0] * 4, 4.0).variance))


def test_a_stack_of_comparisons_is_each_of_them_by_itself() -> None:
    stack = np.random.default_rng(2).chisquare(4, (7, 12))
    together = moderate(stack, 4.0)
    for one, variance in zip(stack, together.variance, strict=True):
        assert moderate(one, 4.0).variance == pytest.approx(variance)


@pytest.mark.parametrize("value", [1e-8, 1e-3, 0.1, 1.0, 30.0, 1e8])
def test_the_inverse_of_trigamma_inverts_it(value: float) -> None:
    assert polygamma(1, trigamma_inverse(value)) == pytest.approx(value, rel=1e-6)
