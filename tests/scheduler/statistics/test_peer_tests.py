"""Tests of machines against their peers: by hand, by chance, and with hidden outliers."""

import math

import numpy as np
import pytest
from scipy.special import stdtr

from velodrome.scheduler.statistics.peer_tests import (
    TESTED_AT,
    compare_among_peers,
    compare_with_reference,
    estimate_floor,
    find_peers,
)

LEAST = math.log(1.03)


def fleets(trials: int, machines: int, cells: int, seed: int = 7) -> np.ndarray:
    """Draw machines that differ by 0.5 %, and by 1 % in each cell on its own."""
    draw = np.random.default_rng(seed)
    shared = 0.005 * draw.standard_normal((trials, machines, 1))
    return shared + 0.01 * draw.standard_normal((trials, machines, cells))


def rejects(logs: np.ndarray) -> np.ndarray:
    """Return True for machines that are slow: in any column, significantly and by 3 %."""
    units = logs.shape[-2]
    tests = compare_among_peers(logs, find_peers(logs, units), units)
    is_sure = units * tests.p <= TESTED_AT
    return np.asarray((is_sure & (tests.deviation >= LEAST)).any(axis=-1))


def test_one_cell_agrees_with_students_t_worked_by_hand() -> None:
    # The others: 0.00, 0.01, 0.02: mean 0.01, variance 0.0001, 2 degrees. 0.05 is 0.04 above.
    logs = np.array([[0.0], [0.01], [0.02], [0.05]])
    tests = compare_among_peers(logs, np.ones(4, dtype=bool), 4)
    t = 0.04 / math.sqrt(0.0001 * (1 + 1 / 3))
    assert tests.deviation[3] == pytest.approx([0.04, 0.04])
    # One cell and its median share the error, and are the same number.
    assert tests.p[3] == pytest.approx([stdtr(2, -t), stdtr(2, -t)])
    assert tests.peers.tolist() == [3, 3, 3, 3]


def test_the_same_reference_gives_the_same_p() -> None:
    known = np.array([[0.0, 1.0], [0.01, 1.02], [0.02, 1.01]])
    new = np.array([[0.05, 1.03]])
    among = compare_among_peers(np.concatenate([known, new]), np.array([True] * 3 + [False]), 4)
    against = compare_with_reference(new, known, 4)
    assert against.p[0, :2] == pytest.approx(among.p[3, :2])
    assert against.deviation[0] == pytest.approx(among.deviation[3])


def test_a_machine_that_lacks_a_cell_is_judged_by_its_others() -> None:
    logs = fleets(1, 8, 4)[0]
    logs[3, 0] = math.nan
    logs[5] += math.log(1.2)
    tests = compare_among_peers(logs, find_peers(logs, 8), 8)
    assert np.isnan(tests.p[3, 0]) and np.isfinite(tests.p[3, 1:]).all()
    assert rejects(logs).tolist() == [at == 5 for at in range(8)]


def test_a_machine_without_a_time_is_not_tested() -> None:
    logs = fleets(1, 8, 4)[0]
    logs[0] = math.nan
    tests = compare_among_peers(logs, np.ones(8, dtype=bool), 8)
    assert np.isnan(tests.p[0]).all()
    assert not find_peers(logs, 8)[0]
    assert math.isnan(tests.detectable[0])
    assert tests.peers[1] == 6


def test_equal_times_are_no_proof_of_a_slow_machine() -> None:
    logs = np.zeros((8, 3))
    logs[2] = math.log(1.002)
    assert not rejects(logs).any()


@pytest.mark.parametrize("machines", [4, 8])
def test_a_healthy_fleet_is_rejected_in_at_most_five_percent(machines: int) -> None:
    assert rejects(fleets(1500, machines, 6)).any(axis=-1).mean() <= 0.05


def test_a_fleet_with_heavy_tails_is_rejected_in_at_most_five_percent() -> None:
    draw = np.random.default_rng(3)
    logs = 0.01 * draw.standard_t(5, (1500, 8, 6))
    assert rejects(logs).any(axis=-1).mean() <= 0.05


def test_without_a_least_slow_down_the_rate_holds_too() -> None:
    logs = fleets(1500, 8, 6)
    tests = compare_among_peers(logs, find_peers(logs, 8), 8)
    false = (8 * tests.p <= TESTED_AT).any(axis=(-1, -2)).mean()
    assert 0.005 <= false <= 0.05


def test_one_machine_of_eight_that_is_ten_percent_slow_is_found() -> None:
    logs = fleets(300, 8, 6)
    logs[:, 0] += math.log(1.1)
    found = rejects(logs)
    assert found[:, 0].mean() > 0.95
    assert found[:, 1:].any(axis=-1).mean() <= 0.05


def test_two_slow_machines_of_eight_do_not_hide_each_other() -> None:
    logs = fleets(300, 8, 6)
    logs[:, :2] += math.log(1.15)
    alone = compare_among_peers(logs, np.ones(logs.shape[:-1], dtype=bool), 8)
    hidden = (8 * alone.p[:, 0] <= TESTED_AT).any(axis=-1).mean()
    found = rejects(logs)
    assert hidden < 0.5 < 0.9 < found[:, :2].all(axis=-1).mean()


def test_a_fast_machine_is_not_rejected_and_hides_no_slow_one() -> None:
    logs = fleets(300, 8, 6)
    logs[:, 0] -= math.log(1.5)
    logs[:, 1] += math.log(1.15)
    found = rejects(logs)
    assert not found[:, 0].any()
    assert found[:, 1].mean() > 0.9


def test_a_fault_in_one_cell_is_found_there() -> None:
    logs = fleets(300, 8, 6)
    logs[:, 0, 2] += math.log(1.25)
    tests = compare_among_peers(logs, np.ones(logs.shape[:-1], dtype=bool), 8)
    worst = tests.p[:, 0].argmin(axis=-1)
    assert (worst == 2).mean() > 0.9
    assert rejects(logs)[:, 0].mean() > 0.9


def test_the_detectable_slow_down_is_detected_in_about_four_of_five() -> None:
    logs = fleets(1500, 8, 6)
    whole = compare_among_peers(logs, np.ones(logs.shape[:-1], dtype=bool), 8)
    step = np.median(whole.detectable[:, 0])
    slower = logs.copy()
    slower[:, 0] += step
    tests = compare_among_peers(slower, np.ones(logs.shape[:-1], dtype=bool), 8)
    assert 0.6 < (8 * tests.p[:, 0, -1] <= TESTED_AT).mean() < 0.9


def test_the_floor_is_pooled_over_machines_by_hand() -> None:
    # Squares 2 and 8 over one degree each: 5. Five processes on three machines: pi / 2 over 5 / 3.
    processes = np.array([[[0.0, 2.0]], [[1.0, 5.0]], [[1.0, math.nan]], [[math.nan] * 2]])
    assert estimate_floor(processes) == pytest.approx([5 * math.pi / 2 / (5 / 3)])
    assert estimate_floor(processes[:, :, :1]).tolist() == [0.0]


def test_bimodal_processes_make_no_outlier_of_four_machines() -> None:
    # A median of three lies in the upper mode on one machine of four by chance.
    draw = np.random.default_rng(4)
    upper = draw.random((1500, 4, 6, 3)) < 0.25
    processes = 0.1 * upper + 0.001 * draw.standard_normal(upper.shape)
    logs = np.median(processes, axis=-1)
    without = compare_among_peers(logs, np.ones(logs.shape[:-1], dtype=bool), 4)
    floor = estimate_floor(processes)
    tests = compare_among_peers(logs, np.ones(logs.shape[:-1], dtype=bool), 4, floor)
    assert (4 * without.p <= TESTED_AT).any(axis=(-1, -2)).mean() > 0.2
    assert (4 * tests.p <= TESTED_AT).any(axis=(-1, -2)).mean() <= 0.05
