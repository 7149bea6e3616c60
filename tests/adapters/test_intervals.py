import itertools
import math
import random
from statistics import median

import numpy
import pytest

from velodrome.adapters.timing import intervals
from velodrome.adapters.timing.autocorrelation import (
    compute_autocorrelations,
    compute_signs,
    estimate_autocorrelation_time,
)
from velodrome.adapters.timing.intervals import compute_median_interval, find_lower_rank


@pytest.mark.parametrize(
    ("n", "lower", "upper", "coverage"),
    [  # the sign test's intervals as tabulated, e.g. in Hahn & Meeker and in Conover
        (6, 1, 6, 0.9688),
        (8, 1, 8, 0.9922),
        (9, 2, 8, 0.9609),
        (10, 2, 9, 0.9785),
        (15, 4, 12, 0.9648),
        (20, 6, 15, 0.9586),
        (50, 18, 33, 0.9672),
        (100, 40, 61, 0.9648),
    ],
)
def test_the_ranks_agree_with_published_tables(n, lower, upper, coverage):
    assert (find_lower_rank(n), n + 1 - find_lower_rank(n)) == (lower, upper)
    assert intervals.compute_coverage(n, lower) == pytest.approx(coverage, abs=5e-5)


def test_the_ranks_are_the_innermost_that_reach_95_percent():
    for n in range(6, 300):
        assert intervals.compute_coverage(n, find_lower_rank(n)) >= 0.95
        assert intervals.compute_coverage(n, find_lower_rank(n) + 1) < 0.95


def test_approximate_ranks_reach_95_percent_and_are_off_by_one_at_most():
    for n in (1001, 1002, 1500, 2001, 3333, 5000):
        assert intervals.compute_coverage(n, find_lower_rank(n)) >= 0.95
        assert intervals.compute_coverage(n, find_lower_rank(n) + 2) < 0.95


@pytest.mark.parametrize("values", [[7], [7, 5], [3, 9, 4, 8, 5]])
def test_fewer_than_six_values_give_their_range_without_coverage(values):
    interval = compute_median_interval(values)
    assert interval[:4] == (median(values), min(values), max(values), False)


def test_a_median_worked_by_hand():
    # Sorted 95 .. 104: ranks 2 and 9. Neighbours differ, so that r < 0, which widens nothing.
    interval = compute_median_interval([95, 104, 96, 103, 97, 102, 98, 101, 99, 100])
    assert interval == (99.5, 96, 103, True, 1.0, 1.0)
    assert interval.relative_half_width == pytest.approx(3.5 / 99.5)


def test_correlations_worked_by_hand():
    # Deviations -3 -1 3 1: of lag 1 (3 - 3 + 3) / 20, of lag 2 (-9 - 1) / 20, of lag 3 -3 / 20.
    found = compute_autocorrelations(numpy.array([10.0, 12, 16, 14]))
    assert found == pytest.approx([1, 0.15, -0.5, -0.15])


def test_equal_values_do_not_count_as_dependent():
    assert not compute_autocorrelations(numpy.full(5, 8.0)).any()
    assert compute_median_interval([8] * 50) == (8, 8, 8, True, 1.0, 1.0)


def test_the_autocorrelation_time_worked_by_hand():
    # ++++----, of lags 0 to 7: 8 5 2 -1 -4 -3 -2 -1 eighths. Pairs 13 1 -7 eighths: two are taken,
    # 2 * 14 / 8 - 1 = 2.5. Of lags up to 3 there are 7, of 8 values: an eighth is left, so 20,
    # and a standard error of sqrt(2 * 7 / 8) of it is added.
    found = estimate_autocorrelation_time(compute_signs([9, 9, 9, 9, 1, 1, 1, 1], 5))
    assert found == pytest.approx(20 * (1 + math.sqrt(14 / 8)))


def exact_autocorrelation_time(signs):
    """Return estimate_autocorrelation_time in integers, for k^2 signs that add up to 0."""
    count = len(signs)
    sums = [sum(a * b for a, b in zip(signs, signs[lag:], strict=False)) for lag in range(count)]
    pairs = [sums[lag] + sums[lag + 1] for lag in range(0, count - 1, 2)]
    positive = list(itertools.takewhile(lambda pair: pair > 0, pairs))
    if not positive or (len(positive) == 1 and sums[1] < math.isqrt(count)):
        return 1.0
    total = 2.0 * sum(itertools.accumulate(positive, min)) / count - 1.0
    share = (4.0 * len(positive) - 1.0) / count
    return max(total / max(1.0 - share, 0.1) * (1.0 + math.sqrt(2.0 * share)), 1.0)


def test_the_fourier_transform_agrees_with_integer_sums():
    draw = random.Random(0)
    for _ in range(500):
        signs = [1] * 50 + [-1] * 50
        draw.shuffle(signs)
        signs.sort(key=lambda sign: sign * 20 + draw.random() * 60)
        assert estimate_autocorrelation_time(numpy.array(signs, float)) == pytest.approx(
            exact_autocorrelation_time(signs)
        )


def test_an_insignificant_autocorrelation_counts_as_none():
    signs = numpy.array([1, -1, -1, 1, 1, -1, 1, -1, -1, 1, 1, -1, 1, -1, 1, 1, -1, -1.0])
    assert compute_autocorrelations(signs)[1] < len(signs) ** -0.5
    assert estimate_autocorrelation_time(signs) == 1.0


def test_the_autocorrelation_time_of_a_long_run_agrees_with_theory():
    # The signs of a normal process of first order are correlated by (2 / pi) asin(phi ** lag).
    true = 1 + 2 * sum(2 / math.pi * math.asin(0.8**lag) for lag in range(1, 100))
    draw = random.Random(5)
    assert estimate_autocorrelation_time(
        compute_signs(draw_autoregressive(draw, 0.8, 50_000), 0.0)
    ) == pytest.approx(true, rel=0.2)


def test_dependence_widens_the_interval_by_the_root_of_the_inflation():
    # n = 100: rank 40, 10.5 from the centre; four times the variance, twice as far.
    assert find_lower_rank(100, 4.0) == math.floor(50.5 - 21.0)
    assert find_lower_rank(10, 1.0) == 2
    assert find_lower_rank(10, 1.2) == 1
    assert find_lower_rank(10, 2.0) == 0


def test_one_outlier_does_not_hide_dependence():
    trend = [100.0 + i for i in range(50)]
    trend[25] = 10.0**6
    assert compute_autocorrelations(numpy.array(trend))[1] < 0.1
    assert estimate_autocorrelation_time(compute_signs(trend, 125.0)) > 10


@pytest.mark.parametrize(
    ("correlation", "unadjusted_below"), [(0.3, 0.93), (0.5, 0.88), (0.8, 0.70)]
)
def test_the_interval_of_dependent_values_covers_the_median(correlation, unadjusted_below):
    draw = random.Random(20)
    runs = [draw_autoregressive(draw, correlation, 100) for _ in range(300)]
    adjusted = share(runs, lambda values: covers(compute_median_interval(values)[1:3]))
    unadjusted = share(runs, lambda values: covers(compute_independent_bounds(values)))
    assert unadjusted < unadjusted_below
    assert adjusted > 0.92


def test_the_interval_of_independent_values_is_hardly_widened():
    draw = random.Random(21)
    runs = [[draw.gauss(0, 1) for _ in range(100)] for _ in range(200)]
    widths = sum(interval.high - interval.low for interval in map(compute_median_interval, runs))
    independent = sum(high - low for low, high in map(compute_independent_bounds, runs))
    assert 1.0 <= widths / independent < 1.4


def draw_autoregressive(draw, correlation, n):
    """Normal, of median 0, each value correlated with the one before."""
    values = [draw.gauss(0, 1) / math.sqrt(1 - correlation**2)]
    while len(values) < n:
        values.append(correlation * values[-1] + draw.gauss(0, 1))
    return values


def compute_independent_bounds(values):
    ordered, rank = sorted(values), find_lower_rank(len(values))
    return ordered[rank - 1], ordered[-rank]


def covers(bounds):
    return bounds[0] <= 0 <= bounds[1]


def share(runs, claim):
    return sum(map(claim, runs)) / len(runs)
