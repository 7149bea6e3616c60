import math
import random
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from velodrome.scheduler.statistics.contrasts import ReplicationUnit
from velodrome.scheduler.statistics.geometric_means import compute_geometric_mean
from velodrome.scheduler.statistics.moderated_tests import adjust_by_holm
from velodrome.scheduler.statistics.rank_test import compute_rank_p
from velodrome.scheduler.statistics.ratio_tests import (
    Comparison,
    Verdict,
    compare,
    compare_all,
)
from velodrome.scheduler.statistics.replication import Repeat
from velodrome.scheduler.statistics.replication_units import (
    CellPast,
    compare_across_sweeps,
    compare_within_sweep,
)


def exact(*medians_ns: float) -> list[Repeat]:
    """Make processes without uncertainty from their own samples."""
    return [Repeat(median, median, median) for median in medians_ns]


def test_the_test_of_a_single_cell_is_students_on_logarithms() -> None:
    base, candidate = [100.0, 104, 98, 103, 101], [110.0, 109, 118, 112, 114]
    logs = [[math.log(value) for value in side] for side in (candidate, base)]
    published = stats.ttest_ind(*logs)
    interval = published.confidence_interval(0.95)
    found = compare(exact(*base), exact(*candidate))
    assert found.p == pytest.approx(published.pvalue)
    assert found.degrees == pytest.approx(published.df)
    assert (found.low, found.high) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high))
    )
    assert found.ratio == pytest.approx(112 / 101)
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


def test_repeats_that_agree_by_chance_are_no_more_certain_than_their_samples() -> None:
    one = [Repeat(100, 90, 111)] * 3
    other = [Repeat(105, 95, 116)] * 3
    assert compare(one, other).verdict is Verdict.UNDECIDED
    assert compare(exact(100, 100, 100), exact(105, 105, 105)).verdict is Verdict.SLOWER


def test_a_difference_too_small_to_matter_is_undecided_and_equivalent() -> None:
    base, candidate = exact(100, 100.1, 99.9, 100), exact(101, 101.1, 100.9, 101)
    found = compare(base, candidate)
    assert found.p < 0.001
    assert found.verdict is Verdict.UNDECIDED and found.is_alike
    assert compare(base, candidate, least=0.005).verdict is Verdict.SLOWER


def test_a_noisy_pair_is_undecided_and_not_equivalent() -> None:
    found = compare(exact(100, 130, 90), exact(101, 125, 95))
    assert found.verdict is Verdict.UNDECIDED and not found.is_alike


def test_one_process_against_one_decides_nothing_however_far_apart() -> None:
    found = compare(exact(100), exact(300))
    assert (found.low, found.ratio, found.high) == (0.0, 3.0, math.inf)
    assert found.verdict is Verdict.UNDECIDED


def test_one_process_uses_the_spread_of_the_other_side() -> None:
    # Student with one variance: error = s sqrt(1/4 + 1), 3 degrees.
    base = exact(100, 102, 101, 99)
    logs = [math.log(value) for value in (100, 102, 101, 99)]
    found = compare(base, exact(150))
    assert found.error == pytest.approx((stats.tvar(logs) * 1.25) ** 0.5)
    assert found.degrees == 3 and found.verdict is Verdict.SLOWER


def test_swapping_base_and_candidate_swaps_the_verdict() -> None:
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
        ([1, 1, 1, 1], [2], 2 / 5),  # one of five may be the single one
        ([2], [1, 1, 1, 1], 2 / 5),
        ([1, 1, 3], [2], 1.0),
        ([1, 2, 3], [4], 2 / 4),
    ],
)
def test_the_rank_test_is_exact(base: list[float], candidate: list[float], p: float) -> None:
    assert compute_rank_p(base, candidate) == pytest.approx(p)


def test_holms_correction_worked_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    found = adjust_by_holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_with_many_cells_each_needs_stronger_evidence() -> None:
    one = compare_within_sweep(exact(100, 103, 97, 100), exact(105, 108, 102, 105))
    others = [
        compare_within_sweep(exact(100, 103, 97, 101), exact(101, 98, 100, 103)) for _ in range(29)
    ]
    alone, among = compare_all([one])[0], compare_all([one, *others])[0]
    assert among.p > alone.p / 2
    assert compare_all([replace(one, family=str(at)) for at in range(30)])[0].p == pytest.approx(
        30 * alone.p
    )


def test_a_geometric_mean_worked_by_hand() -> None:
    halved, doubled = ratio_of(0.5, error=0.03), ratio_of(2.0, error=0.04)
    found = compute_geometric_mean([halved, doubled])
    assert found is not None
    # Variances 0.0009 / 4 and 0.0016 / 4: error 0.025. Degrees (9 + 16)^2 / (81 / 4 + 256 / 4).
    degrees = 25**2 / (81 / 4 + 256 / 4)
    assert (found.ratio, found.count) == (pytest.approx(1.0), 2)
    assert found.high == pytest.approx(math.exp(stats.t.ppf(0.975, degrees) * 0.025), rel=1e-4)


def test_across_sweeps_a_geometric_mean_is_no_more_certain_than_its_cells() -> None:
    cells = [replace(ratio_of(1.1, error=0.03), unit=ReplicationUnit.SWEEP) for _ in range(9)]
    found = compute_geometric_mean(cells)
    assert found is not None
    half = stats.t.ppf(0.975, 4) * 0.03  # as of one cell
    assert found.high == pytest.approx(1.1 * math.exp(half))


def test_no_cells_have_no_mean_and_one_cell_without_an_interval_leaves_none() -> None:
    assert compute_geometric_mean([]) is None
    found = compute_geometric_mean([ratio_of(1.1, error=0.01), compare(exact(100), exact(100))])
    assert found is not None and (found.low, found.high) == (0.0, math.inf)


@pytest.mark.parametrize(("base", "candidate"), [(2, 2), (2, 5), (3, 3), (1, 4)])
def test_at_most_five_percent_of_equal_pairs_are_called_different(
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


def jittered(draw: random.Random, count: int, noise: float, factor: float = 1.0) -> list[Repeat]:
    return exact(*(factor * 100 * math.exp(draw.gauss(0, noise)) for _ in range(count)))


def test_thirty_cells_detect_in_one_what_it_could_not_show_alone() -> None:
    draw, found = random.Random(1), []
    for _ in range(40):
        sides = [(jittered(draw, 3, 0.01), jittered(draw, 3, 0.01)) for _ in range(29)]
        slower = (jittered(draw, 3, 0.01), jittered(draw, 3, 0.01, 1.05))
        times = enumerate([slower, *sides])
        apart = [compare_within_sweep(*each).with_family(str(at)) for at, each in times]
        together = [one.with_family("gradient") for one in apart]
        found.append([compare_all(each)[0].verdict is Verdict.SLOWER for each in (apart, together)])
    alone, moderated = (sum(each) for each in zip(*found, strict=True))
    assert alone < 20 < 34 <= moderated


def test_a_step_that_bimodality_can_explain_is_withheld_with_the_remedy() -> None:
    draw = random.Random(2)
    mixed = [
        compare_within_sweep(
            *(
                exact(*(draw.choice((100, 105)) + draw.gauss(0, 0.1) for _ in range(3)))
                for _ in range(2)
            )
        )
        for _ in range(30)
    ]
    step = compare_within_sweep(exact(100, 100.1, 99.9), exact(105, 105.1, 104.9))
    calm = [
        compare_within_sweep(jittered(draw, 3, 0.001), jittered(draw, 3, 0.001)) for _ in range(120)
    ]
    assert compare_all([step, *calm])[0].verdict is Verdict.SLOWER
    found = compare_all([step, *calm, *mixed])[0]
    assert found.verdict is Verdict.UNDECIDED
    assert "processes are bimodal in" in found.reason and "give `repeats: " in found.reason


def test_a_cell_with_a_bimodal_history_needs_more_repeats() -> None:
    past = CellPast((tuple(exact(100, 105, 105.1 - 5 * (at % 2)) for at in range(6)),))
    sides = exact(100, 100.1, 99.9), exact(105, 105.1, 104.9)
    assert compare_all([compare_within_sweep(*sides)])[0].verdict is Verdict.SLOWER
    assert compare_all([compare_within_sweep(*sides, past=past)])[0].verdict is Verdict.UNDECIDED
    larger = compare_within_sweep(sides[0], exact(120, 120.1, 119.9), past=past)
    assert compare_all([larger])[0].verdict is Verdict.SLOWER


def test_two_sweeps_without_a_history_are_undecided_and_say_what_to_do() -> None:
    found = compare_all(
        [compare_across_sweeps({"a": exact(100, 100.1)}, {"b": exact(150, 150.1)})]
    )[0]
    assert (found.verdict, found.unit, found.degrees) == (
        Verdict.UNDECIDED,
        ReplicationUnit.SWEEP,
        0,
    )
    assert "it takes 4 other sweeps of the cell, or 2 on each side" in found.reason
    assert (found.low, found.high) == (0.0, math.inf)


def test_the_variation_between_sweeps_is_the_error_however_many_processes_they_have() -> None:
    levels = [100, 101, 100, 101, 100, 101]
    past = CellPast((tuple(exact(*[level] * 10) for level in levels),))
    sides = {"a": exact(*[100] * 50)}, {"b": exact(*[101.5] * 50)}
    found = compare_all([compare_across_sweeps(*sides, past)])[0]
    # Successive differences of 1 %, their mean square over 2, and two sweeps: the root is 1 %.
    assert found.error == pytest.approx(math.log(1.01))
    assert (found.verdict, found.past_sweeps) == (Verdict.UNDECIDED, 6)


def test_two_sweeps_on_each_side_need_no_history() -> None:
    base = {"a": exact(100, 100.1), "b": exact(100.2, 100)}
    candidate = {"c": exact(120, 120.1), "d": exact(120.2, 120)}
    found = compare_all([compare_across_sweeps(base, candidate)])[0]
    assert (found.verdict, found.degrees) == (Verdict.SLOWER, 2)
    assert (found.base_units, found.candidate_units) == (2, 2)


def test_pairs_decide_from_eight_on_and_both_errors_are_reported() -> None:
    drift = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    luck = [1.0, 1.001, 0.999, 1.002, 0.998, 1.001, 1.0, 0.999]
    base = exact(*(100 * each for each in drift))
    candidate = exact(*(103 * each * off for each, off in zip(drift, luck, strict=True)))
    pairs = list(zip(base, candidate, strict=True))
    found = compare_all([compare_within_sweep(base, candidate, pairs)])[0]
    assert (found.unit, found.base_units, found.verdict) == (
        ReplicationUnit.PAIR,
        8,
        Verdict.SLOWER,
    )
    assert found.paired_error and found.unpaired_error
    assert found.paired_error < found.unpaired_error / 20
    few = compare_all([compare_within_sweep(base[:7], candidate[:7], pairs[:7])])[0]
    assert (few.unit, few.verdict) == (ReplicationUnit.PROCESS, Verdict.UNDECIDED)
    assert few.paired_error


def test_processes_that_differ_absurdly_have_no_smallest_step_and_no_verdict() -> None:
    wild = [compare_within_sweep(exact(1e-2, 1e17), exact(1e17, 1e-2)) for _ in range(2)]
    assert {one.smallest_step for one in compare_all(wild * 100)} == {None}
    assert {one.verdict for one in compare_all(wild)} == {Verdict.UNDECIDED}


def test_the_smallest_step_is_detected_four_times_in_five() -> None:
    draw = random.Random(3)
    example = compare(*[exact(100, 103, 97, 101.5, 98.5)] * 2)
    noise = math.sqrt(example.error**2 * 5 / 2)
    assert example.smallest_step
    step = 1 + example.smallest_step
    found = [
        compare(jittered(draw, 5, noise), jittered(draw, 5, noise, step)).verdict
        for _ in range(300)
    ]
    assert 215 <= found.count(Verdict.SLOWER) <= 265  # 240 +- 3.6 standard errors
