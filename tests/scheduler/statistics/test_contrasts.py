import numpy as np
import pytest
from scipy import stats

from velodrome.scheduler.statistics.contrasts import (
    contrast_pairs,
    contrast_processes,
    contrast_sweeps,
    successive_degrees,
)

BASE, CANDIDATE = np.array([0.0, 0.04, 0.01, 0.03]), np.array([0.05, 0.09, 0.05, 0.1])


def t_of(contrast) -> float:
    return float(contrast.distance / np.sqrt(contrast.variance * contrast.factor))


def test_equal_numbers_of_processes_give_students_test() -> None:
    found = contrast_processes(BASE, CANDIDATE)
    published = stats.ttest_ind(CANDIDATE, BASE)
    assert (t_of(found), found.degrees) == pytest.approx((published.statistic, published.df))


def test_unequal_sides_have_welchs_error() -> None:
    found = contrast_processes(BASE, CANDIDATE[:2])
    published = stats.ttest_ind(CANDIDATE[:2], BASE, equal_var=False)
    assert t_of(found) == pytest.approx(published.statistic)
    # Weights 1/4 and 1/2 over 3/4: degrees 1 / ((1/3)^2 / 3 + (2/3)^2 / 1) = 2.077.
    assert found.degrees == pytest.approx(1 / (1 / 27 + 4 / 9))


def test_one_process_against_one_has_no_degrees_of_freedom() -> None:
    assert contrast_processes(BASE[:1], CANDIDATE[:1]).degrees == 0


def test_pairs_give_the_textbooks_paired_test() -> None:
    found = contrast_pairs(BASE, CANDIDATE)
    published = stats.ttest_rel(CANDIDATE, BASE)
    assert (t_of(found), found.degrees) == pytest.approx((published.statistic, published.df))


def test_the_variance_between_sweeps_is_half_the_mean_square_of_successive_differences() -> None:
    # Differences 0.01, 0.03, -0.02: squares 1, 9, 4 (e-4), their mean over 2: 7/3 e-4. Degrees of 4
    # values: 2 * 9 / 8. One sweep against one: twice a sweep's variance.
    found = contrast_sweeps(np.array([0.0]), np.array([0.1]), [np.array([0.0, 0.01, 0.04, 0.02])])
    assert float(found.variance) == pytest.approx(7 / 3 * 1e-4)
    assert (found.degrees, found.factor) == pytest.approx((2.25, 2.0))


def test_two_values_have_one_degree_of_freedom_and_many_two_thirds_of_theirs() -> None:
    assert successive_degrees(2) == pytest.approx(1)
    assert successive_degrees(301) == pytest.approx(200, rel=0.01)


def test_several_sweeps_on_a_side_and_the_history_are_pooled_by_their_degrees() -> None:
    past = [np.array([0.0, 0.02])]  # 2e-4, 1 degree
    found = contrast_sweeps(np.array([0.0, 0.01, 0.02]), np.array([0.1]), past)  # 1e-4, 2 degrees
    assert float(found.variance) == pytest.approx((2 * 1e-4 + 2e-4) / 3)
    assert found.degrees == 3
    assert found.factor == pytest.approx(1 / 3 + 1)


def test_histories_of_two_nodes_are_not_one_series() -> None:
    nodes = [np.array([0.0, 0.01]), np.array([1.0, 1.01])]
    found = contrast_sweeps(np.array([0.0]), np.array([0.0]), nodes)
    assert float(found.variance) == pytest.approx(0.01**2 / 2)


def test_the_degrees_of_successive_differences_agree_with_simulation() -> None:
    # Of a chi-square with v degrees over v, the variance is 2 / v.
    values = np.random.default_rng(1).standard_normal((40_000, 8))
    found = contrast_sweeps(values[:, :1], values[:, :1], [values]).variance
    assert 2 / found.var() == pytest.approx(successive_degrees(8), rel=0.05)
