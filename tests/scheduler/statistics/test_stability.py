import math

import pytest

from velodrome.scheduler.statistics.replication import Repeat
from velodrome.scheduler.statistics.stability import (
    assess_stability,
    count_repeats_needed,
    format_spread,
)


def exact(*medians_ns: float) -> list[Repeat]:
    return [Repeat(median, median, median) for median in medians_ns]


@pytest.mark.parametrize(
    ("deviation", "needed"),
    [  # t s / sqrt(n) within ln 1.05 = 0.0488: 12.706 / 1.414 = 8.98, 2.484, 1.591, 1.242 ...
        (0.005, 2),
        (0.006, 3),
        (0.019, 3),
        (0.020, 4),
        (0.030, 4),
        (0.031, 5),
    ],
)
def test_the_needed_repeats_follow_students_table(deviation: float, needed: int) -> None:
    assert count_repeats_needed(deviation, 0.05) == needed


def test_the_needed_repeats_follow_pyperfs_rule_for_many_repeats() -> None:
    # n = 4 * 1.96^2 * s^2 / W^2, W the whole width: s 3 %, W 1 %.
    rule = 4 * 1.96**2 * 0.03**2 / 0.01**2
    assert count_repeats_needed(0.03, 0.005) == pytest.approx(rule, rel=0.03)


def test_too_many_repeats_are_not_recommended() -> None:
    assert count_repeats_needed(1.0, 0.01) is None


def test_agreeing_repeats_are_stable() -> None:
    found = assess_stability(exact(100, 101, 99.5))
    assert (found.is_stable, found.reason, found.needed) == (True, "", 0)


def test_differing_repeats_report_how_many_more_are_needed() -> None:
    # Deviation 5 %, three of them: 2.484 * 5 %. 1.96^2 (0.05 / 0.0488)^2 = 4.03, by t seven.
    found = assess_stability(exact(*map(math.exp, (0.0, 0.05, 0.10))))
    assert not found.is_stable
    assert found.reason == "3 processes that differ by 10.5% do not determine it to 5 %"
    assert found.needed == 7 - 3


def test_one_repeat_is_as_stable_as_its_samples_and_recommends_no_number() -> None:
    found = assess_stability(exact(100))
    assert found.is_stable and found.needed is None


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(1.0, "0.0%"), (1.034, "3.4%"), (1.99, "99.0%"), (2.0, "2.0x"), (27.3, "27x")],
)
def test_the_spread_of_processes_is_in_percent_and_from_twofold_on_a_factor(
    ratio: float, text: str
) -> None:
    assert format_spread(ratio) == text
