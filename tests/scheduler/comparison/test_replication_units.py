"""The unit of replication, from the rows of both sides and of other sweeps."""

import math
import random

import pytest
from made_rows import changed, changed_row, typed, values
from scipy.stats import binom

from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.comparison.replication_units import (
    collect_evidence,
    group_past_rows,
    pair_neighbours,
)
from velodrome.scheduler.comparison.verdicts import compare_times
from velodrome.scheduler.statistics.contrasts import ReplicationUnit
from velodrome.scheduler.statistics.ratio_tests import ALPHA, LEAST, Verdict

A, B = "20261123-010203-00000001", "20261124-010203-00000002"
OTHERS = [f"202611{day:02}-010203-00000003" for day in range(1, 9)]


def unit_of(pair: CellPair) -> ReplicationUnit:
    return collect_evidence(pair, "gradient").unit


def test_the_sweeps_of_both_sides_determine_the_unit_of_replication(cell) -> None:
    few, many = tuple(cell(A, repeats=7)), tuple(cell(A, repeats=8))
    assert unit_of(CellPair(few, few)) is ReplicationUnit.PROCESS
    assert unit_of(CellPair(many, many)) is ReplicationUnit.PAIR
    assert unit_of(CellPair(many, tuple(cell(B)))) is ReplicationUnit.SWEEP
    both = (*many, *cell(B))
    assert unit_of(CellPair(both, both)) is ReplicationUnit.SWEEP


def test_two_sweeps_without_a_history_are_undecided_however_many_processes_agree(cell) -> None:
    pair = CellPair(tuple(cell(A, repeats=5)), tuple(cell(B, 20, repeats=5)))
    (reason,) = {time.comparison.reason for time in compare_times([pair], LEAST)}
    assert {time.verdict for time in compare_times([pair], LEAST)} == {Verdict.UNDECIDED}
    assert "the variance between sweeps is unknown" in reason
    assert "compare within one sweep" in reason


def test_sweeps_that_vary_more_than_processes_withdraw_the_verdict(cell, earlier) -> None:
    pair = CellPair(tuple(cell(A)), tuple(cell(B, 10.5)))
    calm, wild = (1, 1.001, 0.999, 1, 1.001, 1, 0.999), (1, 1.05, 0.95, 1.04, 0.97, 1.05, 1)
    verdicts = [
        {
            time.verdict
            for time in compare_times(
                [pair], LEAST, past=group_past_rows(earlier(pair.base, nights))
            )
        }
        for nights in (calm, wild)
    ]
    assert verdicts == [{Verdict.SLOWER}, {Verdict.UNDECIDED}]


def test_another_node_or_cell_is_no_history(cell, earlier) -> None:
    pair = CellPair(tuple(cell(A)), tuple(cell(B)))
    for change in ({"node_id": "n2"}, {"threads": 7}, {"model_hash": "other"}):
        past = group_past_rows(earlier(changed(pair.base, **change)))
        assert past.select_past(pair, "gradient").sweeps == 0
    newer = group_past_rows(earlier(changed(pair.base, framework_version="1.0")))
    assert newer.select_past(pair, "gradient").sweeps == 7


def test_each_side_has_its_own_history_if_they_differ_on_purpose(cell, earlier) -> None:
    sides = [cell(sweep, variant=name) for sweep, name in ((A, "eager"), (B, "compile"))]
    past = group_past_rows([row for side in sides for row in earlier(side)])
    assert len(past.select_past(CellPair(*map(tuple, sides)), "gradient").nodes) == 2


def test_the_history_is_ordered_and_counts_a_lost_attempt_once(cell, earlier) -> None:
    rows = earlier(cell(A))
    lost = changed(rows[:1], attempt=0, gradient_median_ns=1e3)
    found = group_past_rows([*reversed(rows), *lost]).select_past(
        CellPair(tuple(cell(A)), tuple(cell(A))), "gradient"
    )
    (sweeps,) = found.nodes
    assert [len(repeats) for repeats in sweeps] == [5] * 7
    assert sweeps[1][0].median_ns == pytest.approx(1.002 * sweeps[0][0].median_ns)


def test_pairs_ran_in_the_same_round_on_the_same_node(cell) -> None:
    def on_two(ms: float, starts: tuple[int, int]) -> tuple:
        """Repeats are numbered through over the nodes, from any number on."""
        return tuple(
            changed_row(row, node_id=node, repeat=start + row.repeat)
            for node, start, factor in zip("ab", starts, (1, 2), strict=True)
            for row in cell(A, ms * factor, repeats=3)
        )

    pair = CellPair(on_two(10, (0, 3)), on_two(11, (3, 0)))
    ratios = [
        after.median_ns / before.median_ns for before, after in pair_neighbours(pair, "gradient")
    ]
    assert ratios == pytest.approx([1.1] * 6)


def test_a_round_that_failed_on_one_side_forms_no_pair_and_shifts_none(cell) -> None:
    base, candidate = cell(A, repeats=4), cell(A, 11, repeats=4)
    candidate[:1] = changed(candidate[:1], status="crashed")
    ratios = [
        after.median_ns / before.median_ns
        for before, after in pair_neighbours(CellPair(tuple(base), tuple(candidate)), "gradient")
    ]
    assert ratios == pytest.approx([1.1] * 3)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("night", [0.005, 0.01])
def test_variation_between_sweeps_makes_at_most_five_percent_of_comparisons_false(
    cell, night
) -> None:
    (row,), luck = cell(repeats=1), random.Random(7)
    columns = values(row)
    comparisons, cells, repeats = 60, 10, 5

    def sweep(sweep_id: str, model: str) -> list[dict[str, object]]:
        shift = luck.gauss(0, night)
        times = [10e6 * math.exp(shift + luck.gauss(0, 0.005)) for _ in range(repeats)]
        return [
            {
                **columns,
                "sweep_id": sweep_id,
                "model": model,
                "repeat": at,
                **{f"gradient_{name}_ns": ns for name in ("low", "median", "high")},
                **{f"forward_{name}_ns": None for name in ("low", "median", "high")},
            }
            for at, ns in enumerate(times)
        ]

    false = 0
    for _ in range(comparisons):
        names = [f"model{at}" for at in range(cells)]
        # All rows of a comparison in one table: to make one for each takes a minute.
        before = [one for name in names for other in OTHERS for one in sweep(other, name)]
        compared = [one for name in names for side in (A, B) for one in sweep(side, name)]
        rows = typed([*before, *compared])
        past = group_past_rows(rows[: len(before)])
        sides = [tuple(rows[at : at + repeats]) for at in range(len(before), len(rows), repeats)]
        pairs = list(map(CellPair, sides[::2], sides[1::2]))
        false += any(time.has_moved for time in compare_times(pairs, LEAST, past=past))
    assert false <= binom.ppf(0.999, comparisons, ALPHA)
