import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from velodrome.scheduler.statistics.moderation import BINS, ModeratedVariances, moderate


def variances(spreads: np.ndarray, degrees: float, seed: int = 1) -> np.ndarray:
    """Draw variances of cells with these spreads and degrees of freedom."""
    draw = np.random.default_rng(seed)
    return np.asarray(spreads**2 * draw.chisquare(degrees, spreads.shape) / degrees)


def test_two_cells_are_too_few_to_moderate_and_students_t_decides() -> None:
    found = moderate([1.0, 9.0], 4.0)
    assert found.variance() == pytest.approx([1, 9])
    assert found.freedom() == pytest.approx([4, 4], rel=1e-3)
    expected = 2 * stats.t.sf([1.5, 1.5 / 3], 4)
    assert found.two_sided([1.5, 1.5], 1.0) == pytest.approx(expected, rel=1e-6)


def test_p_is_the_mean_of_the_normal_p_over_the_posterior_of_the_variance() -> None:
    # Two known variances, 1 and 4, with weights of 0.3 and 0.7, and no cell alone, by hand:
    # 0.3 * 2 (1 - Phi(2)) + 0.7 * 2 (1 - Phi(1)) = 0.3 * 0.0455003 + 0.7 * 0.3173105.
    found = ModeratedVariances(
        np.array([1.0, 4.0]), np.array([[0.3, 0.7]]), np.zeros(1), np.ones(1), np.full(1, 4.0)
    )
    assert found.two_sided([2.0], 1.0) == pytest.approx([0.2357674], abs=1e-6)
    assert found.two_sided([4.0], 4.0) == pytest.approx([0.2357674], abs=1e-6)
    assert found.variance() == pytest.approx([1 / (0.3 + 0.7 / 4)])


def test_the_posterior_of_a_variance_agrees_with_numerical_integration() -> None:
    # A cell that is like no other: a flat prior of log variance times the chi-square likelihood.
    found = moderate([2.0, 2.0], 4.0)

    def weight(log: float) -> float:
        return float(stats.chi2.pdf(4 * 2.0 / np.exp(log), 4) / np.exp(log))

    total = quad(weight, -15, 25)[0]
    p = quad(lambda log: weight(log) * 2 * stats.norm.sf(3 / np.exp(log / 2)), -15, 25)[0] / total
    assert found.two_sided([3.0, 3.0], 1.0) == pytest.approx([p, p], rel=1e-4)


@pytest.mark.parametrize("count", [40, 4 * BINS], ids=["each by itself", "in bins"])
def test_cells_with_equal_variation_share_one_variance(count: int) -> None:
    own = variances(np.ones(count), 4.0)
    found = moderate(own, 4.0)
    assert np.median(found.variance()) == pytest.approx(1, rel=0.2)
    assert np.std(np.log(found.variance())) < 0.5 * np.std(np.log(own))
    assert np.median(found.freedom()) > 12


def test_an_extreme_cell_keeps_its_variance_and_does_not_affect_the_others() -> None:
    calm = variances(np.ones(40), 4.0)
    without, found = moderate(calm, 4.0), moderate([*calm, 400.0], 4.0)
    assert found.variance()[-1] == pytest.approx(400, rel=0.2)
    assert found.variance()[:-1] == pytest.approx(without.variance(), rel=0.2)


def test_cells_of_two_spreads_are_distinguished() -> None:
    spreads = np.array([*[1.0] * 30, *[4.0] * 30])
    found = moderate(variances(spreads, 8.0), 8.0).variance()
    assert np.median(found[:30]) == pytest.approx(1, rel=0.3)
    assert np.median(found[30:]) == pytest.approx(16, rel=0.3)


def test_few_cells_count_less_than_many_of_the_same_spread() -> None:
    own = [0.3, 0.6, 1.0, 1.6, 2.4]
    few, many = moderate(own, 4.0), moderate(own * 20, 4.0)
    assert np.all(few.freedom() < many.freedom()[:5])
    assert np.all(few.alone > many.alone[:5])


def test_binning_many_cells_changes_the_result_little() -> None:
    own = variances(np.where(np.arange(400) % 2, 1.0, 3.0), 4.0)
    unequal = np.full(400, 4.0)
    unequal[0] += 1e-9  # which is enough not to be binned
    binned, each = moderate(own, 4.0), moderate(own, unequal)
    distance = np.full(400, 2.5)
    p = each.two_sided(distance, 1.0)
    assert binned.two_sided(distance, 1.0) == pytest.approx(p, rel=0.1, abs=1e-3)


def test_the_interval_of_the_error_and_its_degrees_agrees_with_p() -> None:
    own = variances(np.exp(np.linspace(-1, 1, 12)), 4.0)
    found = moderate(own, 4.0)
    half = stats.t.ppf(0.975, found.freedom()) * np.sqrt(found.variance())
    assert found.two_sided(half, 1.0) == pytest.approx(np.full(12, 0.05), rel=1e-3)


def test_no_variance_is_below_the_floor() -> None:
    found = moderate([0.01, 0.01, 0.01, 0.01], 4.0)
    assert found.variance(1.0) == pytest.approx(np.ones(4))
    assert np.all(found.two_sided(np.ones(4), 1.0, 1.0) > 0.3)
    assert np.all(found.two_sided(np.ones(4), 1.0) < 1e-3)


def test_variances_of_zero_from_a_coarse_clock_are_accepted() -> None:
    for own in ([0.0, 1.0, 1.0, 1.0], [0.0] * 4):
        found = moderate(own, 4.0)
        assert np.all(np.isfinite(found.variance())) and np.all(found.variance() > 0)
        assert found.two_sided(np.zeros(4), 1.0) == pytest.approx(np.ones(4))


def test_a_stack_of_comparisons_equals_each_comparison_alone() -> None:
    stack = variances(np.ones((7, 12)), 4.0)
    together = moderate(stack, 4.0)
    for one, variance in zip(stack, together.variance(), strict=True):
        assert moderate(one, 4.0).variance() == pytest.approx(variance, rel=0.02)


def test_p_of_unchanged_cells_is_uniformly_distributed() -> None:
    # Of 60,000 p, of spreads from 0.5 to 2, thirty at a time: few p lie a little too low.
    draw = np.random.default_rng(3)
    spreads = 0.5 * 4 ** draw.random((2000, 30))
    found = moderate(variances(spreads, 4.0), 4.0)
    p = found.two_sided(spreads * draw.standard_normal(spreads.shape), 1.0)
    for share, off in ((0.01, 0.4), (0.05, 0.2), (0.1, 0.2), (0.5, 0.05), (0.9, 0.02)):
        assert (p <= share).mean() == pytest.approx(share, rel=off)
