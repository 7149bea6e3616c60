import numpy as np
import pytest

from velodrome.scheduler.statistics.bimodality import (
    count_repeats_needed,
    estimate_bimodality,
    find_best_cut,
    find_cut_among_sweeps,
    may_be_chance,
)

A, B = 0.0, 0.05


def near(*levels: float) -> np.ndarray:
    """Processes of these kinds, 0.1 % of noise between them."""
    return np.array(levels) + 0.001 * np.array([0, 1, -1, 0.5, -0.5])[: len(levels)]


def test_sides_that_mix_two_levels_look_bimodal() -> None:
    found = find_best_cut(near(A, A, B), near(B, A, B))
    assert found.p < 0.001
    assert float(found.gap) == pytest.approx(0.05, abs=0.002)


def test_a_cut_between_the_sides_is_a_step_and_no_sign_of_bimodality() -> None:
    assert find_best_cut(near(A, A, A), near(B, B, B)).p == 1
    assert find_best_cut(near(B, B, B), near(A, A, A)).p == 1


def test_a_single_process_with_interference_makes_no_mode() -> None:
    assert find_best_cut(near(A, A, B), near(A, A, A)).p > 0.02


def test_normal_values_look_bimodal_as_often_as_stated() -> None:
    values = np.random.default_rng(3).standard_normal((20_000, 2, 4))
    found = find_best_cut(values[:, 0], values[:, 1])
    assert np.mean(found.p <= 0.02) == pytest.approx(0.02, abs=0.004)


def test_the_remaining_share_worked_by_hand() -> None:
    # 0, 1, 10, 11: around 5.5 the squares are 101, around 0.5 and 10.5 they are 1.
    found = find_best_cut(np.array([0.0, 10]), np.array([1.0, 11]))
    assert float(found.gap) == pytest.approx(10)
    # Of four normal values, cut two and two: as clear in few.
    assert 0 < float(found.p) < 0.2


def test_a_cells_history_shows_modes_mixed_within_sweeps_but_no_step_between_sweeps() -> None:
    mixed = [near(A, B, A), near(B, B, A), near(A, A, B)]
    stepped = [near(A, A, A), near(A, A, A), near(B, B, B)]
    assert find_cut_among_sweeps(mixed).p < 0.001
    assert find_cut_among_sweeps(stepped).p == 1


def test_if_many_cells_are_bimodal_three_against_three_may_be_chance_and_ten_not() -> None:
    draw = np.random.default_rng(4)
    noise = 0.002 * draw.standard_normal((2, 30, 3))
    sides = noise + B * (draw.random((2, 30, 3)) < 0.5)
    variances = (sides[0].var(axis=-1, ddof=1) + sides[1].var(axis=-1, ddof=1)) / 2
    found = estimate_bimodality(find_best_cut(sides[0], sides[1]), variances)
    assert float(found.cells) > 5
    steps = np.array([0.05, 0.2])
    assert may_be_chance(found, steps, 3, 3).tolist() == [True, False]
    assert may_be_chance(found, steps, 10, 10).tolist() == [False, False]


def test_unimodal_cells_raise_no_doubt() -> None:
    draw = np.random.default_rng(5)
    sides = 0.01 * draw.standard_normal((2, 400, 30, 5))
    variances = (sides[0].var(axis=-1, ddof=1) + sides[1].var(axis=-1, ddof=1)) / 2
    found = estimate_bimodality(find_best_cut(sides[0], sides[1]), variances)
    doubted = may_be_chance(found, np.full((400, 30), 0.01), 5, 5).any(axis=-1)
    assert doubted.mean() < 0.1


def test_the_number_of_repeats_that_makes_chance_rare_enough() -> None:
    # 1 cell: 2^(1 - 2n) is 0.0078 for 4 and 0.0020 for 5. 30 cells: 0.015 for 6, 0.0037 for 7.
    assert (count_repeats_needed(1), count_repeats_needed(30)) == (5, 7)
