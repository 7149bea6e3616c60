import math
import random

import pytest
from scipy import stats

from velodrome.scheduler.statistics.comparing import (
    Comparison,
    Verdict,
    compare,
    false_discovery,
    geometric_mean,
    holm,
    rank_p,
    together,
)
from velodrome.scheduler.statistics.replication import Repeat


def exact(*medians_ns: float) -> list[Repeat]:
    """Processes whose own samples leave nothing open."""
    return [Repeat(median, median, median) for median in medians_ns]


def test_the_test_is_welchs_on_logarithms() -> None:
    base, candidate = [100.0, 104, 98, 103, 101], [110.0, 109, 118]
    logs = [[math.log(value) for value in side] for side in (candidate, base)]
    published = stats.ttest_ind(*logs, equal_var=False)
    interval = published.confidence_interval(0.95)
    found = compare(exact(*base), exact(*candidate))
    assert found.p == pytest.approx(published.pvalue)
    assert found.degrees == pytest.approx(published.df)
    assert (found.low, found.high) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high))
    )
    assert found.ratio == pytest.approx(110 / 101)
    assert found.verdict is Verdict.SLOWER


def test_two_against_two_worked_by_hand() -> None:
    # Logs 0, 0.02 and 0.10, 0.12: variances 0.0002, error 0.0002 ** 0.5, t = 0.1 / 0.01414 = 7.07
    # of 2 degrees. p = 1 - t / sqrt(2 + t^2) = 1 - 7.071 / sqrt(52).
    sides = [exact(*map(math.exp, logs)) for logs in ((0.0, 0.02), (0.10, 0.12))]
    found = compare(*sides)
    assert found.degrees == pytest.approx(2.0)
    assert found.error == pytest.approx(0.0002**0.5)
    assert found.p == pytest.approx(1 - 50**0.5 / 52**0.5)
    assert found.low == pytest.approx(math.exp(0.1 - 4.30265 * 0.0002**0.5), rel=1e-5)


def test_repeats_that_agree_by_luck_are_no_surer_than_their_own_samples() -> None:
    one = [Repeat(100, 90, 111)] * 3
    other = [Repeat(105, 95, 116)] * 3
    assert compare(one, other).verdict is Verdict.UNDECIDED
    assert compare(exact(100, 100, 100), exact(105, 105, 105)).verdict is Verdict.SLOWER


def test_a_difference_too_small_to_matter_is_undecided_and_known_to_be_alike() -> None:
    base, candidate = exact(100, 100.1, 99.9, 100), exact(101, 101.1, 100.9, 101)
    found = compare(base, candidate)
    assert found.p < 0.001
    assert found.verdict is Verdict.UNDECIDED and found.is_alike
    assert compare(base, candidate, least=0.005).verdict is Verdict.SLOWER


def test_a_noisy_pair_is_undecided_and_not_known_to_be_alike() -> None:
    found = compare(exact(100, 130, 90), exact(101, 125, 95))
    assert found.verdict is Verdict.UNDECIDED and not found.is_alike


def test_one_process_against_one_decides_nothing_however_far_apart() -> None:
    found = compare(exact(100), exact(300))
    assert (found.low, found.ratio, found.high) == (0.0, 3.0, math.inf)
    assert found.verdict is Verdict.UNDECIDED


def test_one_process_borrows_the_spread_of_the_other_side() -> None:
    # Student with one variance: error = s sqrt(1/4 + 1), 3 degrees.
    base = exact(100, 102, 101, 99)
    logs = [math.log(value) for value in (100, 102, 101, 99)]
    found = compare(base, exact(150))
    assert found.error == pytest.approx((stats.tvar(logs) * 1.25) ** 0.5)
    assert found.degrees == 3 and found.verdict is Verdict.SLOWER


def test_base_and_candidate_change_sides_and_so_does_the_verdict() -> None:
    base, candidate = exact(100, 103, 101), exact(80, 82, 81)
    there, back = compare(base, candidate), compare(candidate, base)
    assert (there.verdict, back.verdict) == (Verdict.FASTER, Verdict.SLOWER)
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert (there.low, there.p) == pytest.approx((1 / back.high, back.p))


@pytest.mark.parametrize(
    ("base", "candidate", "p"),
    [
        ([1, 2, 3], [4, 5, 6], 2 / 20),  # 6 choose 3
        ([1, 2, 3, 4], [5, 6, 7, 8], 2 / 70),
        ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], 2 / 252),
        ([1, 3, 5], [2, 4, 6], 14 / 20),  # U = 3: of the 20, 7 have at most 3
        ([7, 7], [7, 7, 7], 1.0),
        ([1, 1], [2, 2], 2 / 6),  # ties: all ways to deal out
    ],
)
def test_the_rank_test_is_exact(base: list[float], candidate: list[float], p: float) -> None:
    assert rank_p(base, candidate) == pytest.approx(p)


def test_holm_on_a_case_worked_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_false_discovery_as_in_the_paper_of_benjamini_and_hochberg() -> None:
    # Their section 3.2: 15 comparisons of two treatments; at q = 0.05 the first four are rejected,
    # Holm and Bonferroni reject three.
    p_values = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
        0.5719, 0.6528, 0.7590, 1.0,
    ]  # fmt: skip
    assert sum(p <= 0.05 for p in false_discovery(p_values)) == 4
    assert sum(p <= 0.05 for p in holm(p_values)) == 3
    assert false_discovery(p_values) == pytest.approx(stats.false_discovery_control(p_values))


def test_of_many_cells_each_must_be_surer() -> None:
    cells = [compare(exact(100, 103, 97, 100), exact(106, 109, 103, 106)) for _ in range(30)]
    assert all(cell.verdict is Verdict.SLOWER for cell in cells)
    assert all(cell.verdict is Verdict.UNDECIDED for cell in together(cells))


def test_a_geometric_mean_worked_by_hand() -> None:
    halved, doubled = ratio_of(0.5, error=0.03), ratio_of(2.0, error=0.04)
    found = geometric_mean([halved, doubled])
    assert found is not None
    # Variances 0.0009 / 4 and 0.0016 / 4: error 0.025. Degrees (9 + 16)^2 / (81 / 4 + 256 / 4).
    degrees = 25**2 / (81 / 4 + 256 / 4)
    assert (found.ratio, found.count) == (pytest.approx(1.0), 2)
    assert found.high == pytest.approx(math.exp(stats.t.ppf(0.975, degrees) * 0.025), rel=1e-4)


def test_there_is_no_mean_of_nothing_and_no_interval_where_one_cell_has_none() -> None:
    assert geometric_mean([]) is None
    found = geometric_mean([ratio_of(1.1, error=0.01), compare(exact(100), exact(100))])
    assert found is not None and (found.low, found.high) == (0.0, math.inf)


@pytest.mark.parametrize(("base", "candidate"), [(2, 2), (2, 5), (3, 3), (1, 4)])
def test_of_two_that_are_alike_at_most_five_percent_are_called_different(
    base: int, candidate: int
) -> None:
    draw = random.Random(100 * base + candidate)
    trials = 400
    called = sum(
        compare(drawn(draw, base), drawn(draw, candidate), least=0.0).p <= 0.05
        for _ in range(trials)
    )
    # Where 5 % is true, more than 34 of 400 come up once in 1000 such tests.
    assert called <= 34


def drawn(draw: random.Random, count: int) -> list[Repeat]:
    """Between processes 2 %, within them 1 %."""
    medians = [math.exp(draw.gauss(0, 0.02) + draw.gauss(0, 0.01)) for _ in range(count)]
    return [Repeat(one, one * math.exp(-0.0196), one * math.exp(0.0196)) for one in medians]


def ratio_of(ratio: float, error: float) -> Comparison:
    return Comparison(
        ratio=ratio,
        low=ratio,
        high=ratio,
        p=0.5,
        rank_p=0.5,
        verdict=Verdict.UNDECIDED,
        base_repeats=3,
        candidate_repeats=3,
        error=error,
        degrees=4,
    )
