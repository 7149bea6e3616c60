import math
import random

import pytest
from scipy import stats

from velodrome.scheduler.statistics.replication import Repeat, combine_repeats, compute_spread


def exact(*medians_ns: float) -> list[Repeat]:
    return [Repeat(median, median, median) for median in medians_ns]


def test_the_interval_of_three_worked_by_hand() -> None:
    # Logs 0, 0.01, 0.02: deviation 0.01, t of 2 degrees 4.30265, half 0.0248414.
    found = combine_repeats(exact(*map(math.exp, (0.0, 0.01, 0.02))))
    assert found.median_ns == pytest.approx(math.exp(0.01))
    assert found.low_ns == pytest.approx(math.exp(0.01 - 0.0248414))
    assert found.high_ns == pytest.approx(math.exp(0.01 + 0.0248414))


def test_the_interval_agrees_with_a_librarys_students_t() -> None:
    medians = [100.0, 104, 98, 103, 101, 99]
    published = stats.ttest_1samp([math.log(one) for one in medians], 0).confidence_interval(0.95)
    found = combine_repeats(exact(*medians))
    assert (found.low_ns, found.high_ns) == pytest.approx(tuple(map(math.exp, published)))


def test_one_process_has_its_own_interval_and_no_degrees_of_freedom() -> None:
    alone = Repeat(100, 99, 102)
    found = combine_repeats([alone])
    assert (found.median_ns, found.low_ns, found.high_ns, found.repeats) == (100, 99, 102, 1)
    assert compute_spread([alone]).degrees == 0


def test_repeats_equal_by_chance_vary_as_much_as_their_samples_allow() -> None:
    found = compute_spread([Repeat(100, 98, 102.04), Repeat(100, 98, 102.04)])
    assert math.sqrt(found.variance) == pytest.approx(math.log(102.04 / 98) / 3.92, rel=1e-4)


def test_an_outlier_never_moves_the_median_out_of_its_interval() -> None:
    found = combine_repeats(exact(*[100.0] * 19, 400.0))
    assert found.low_ns <= found.median_ns == 100 <= found.high_ns


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("within", [0.002, 0.02])
def test_the_interval_covers_the_median_over_processes_in_95_of_100_cases(
    count: int, within: float
) -> None:
    """Between processes 1 %."""
    draw = random.Random(count)
    trials = 1500
    held = 0
    for _ in range(trials):
        medians = [math.exp(draw.gauss(0, 0.01) + draw.gauss(0, within)) for _ in range(count)]
        half = math.exp(1.96 * within)
        found = combine_repeats(
            [Repeat(median, median / half, median * half) for median in medians]
        )
        held += found.low_ns <= 1 <= found.high_ns
    # Fewer than 1396 of 1500 come up once in 1000 times where 95 % is true.
    assert held >= 1396
    if within < 0.01 and count > 2:  # else the floor of the spread makes it safer than that
        assert held <= 0.975 * trials
