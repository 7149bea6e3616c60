import random

import pytest
from scipy.stats import binom

from velodrome.scheduler.statistics.percentiles import compute_percentile


def test_the_95th_of_100_worked_by_hand() -> None:
    # Definition 8: at (100 + 1/3) 0.95 + 1/3 = 95.65. Binomial (100, 0.95): 2.5 % at 90, 97.5 % at
    # 99, so ranks 90 and 100.
    found = compute_percentile([float(rank) for rank in range(1, 101)], 0.95)
    assert found is not None
    assert found.value == pytest.approx(95.65)
    assert (found.low, found.high) == (90, 100)


@pytest.mark.parametrize(("share", "least"), [(0.05, 72), (0.95, 72), (0.99, 368), (0.5, 6)])
def test_a_percentile_beyond_the_samples_is_none(share: float, least: int) -> None:
    assert compute_percentile([*map(float, range(least - 1))], share) is None
    assert compute_percentile([*map(float, range(least))], share) is not None


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.95, 0.99])
def test_the_interval_ends_at_the_binomial_quantiles_of_scipy(share: float) -> None:
    for count in (*range(368, 1500, 7), 20_000, 123_457):
        found = compute_percentile([*map(float, range(1, count + 1))], share)
        low, above = (int(binom.ppf(at, count, share)) for at in (0.025, 0.975))
        assert found is not None
        assert (found.low, found.high) == (low, above + 1)


def test_dependent_samples_support_fewer_percentiles_with_wider_bounds() -> None:
    values = [*map(float, range(400))]
    alone, dependent = (
        compute_percentile(values, 0.95),
        compute_percentile(values, 0.95, inflated=4.0),
    )
    assert alone is not None and dependent is not None
    assert dependent.low < alone.low and dependent.high >= alone.high
    assert compute_percentile(values, 0.95, inflated=8.0) is None


def test_the_interval_covers_the_95th_percentile_in_95_of_100_cases() -> None:
    draw = random.Random(2)
    runs = [compute_percentile([draw.random() for _ in range(200)], 0.95) for _ in range(300)]
    held = sum(run is not None and run.low <= 0.95 <= run.high for run in runs)
    assert 273 <= held <= 298  # one in 1000 to either side
