"""Alarms of runs that are unstable, drift slowly, are autocorrelated or few."""

import math
import random
from itertools import pairwise

import pytest

from velodrome.scheduler.history.false_alarms import estimate_false_alarms, shuffle_blocks
from velodrome.scheduler.history.latest_run import PROMISED_RATE, Kind

CELL = "torch my-lenet"
BEFORE = 20
RHOS = (0.3, 0.5, 0.7)


def correlated(cells, rho: float, runs: int, seed: int, effect: float = 0.02):
    """Return a factor per cell and run: a separate AR(1) of that standard deviation per cell."""
    draw, found = random.Random(seed), {}
    for cell in cells:
        value = draw.gauss(0, effect)
        for run in range(runs):
            found[cell, run] = math.exp(value)
            value = rho * value + math.sqrt(1 - rho**2) * draw.gauss(0, effect)
    return lambda cell, run: found[cell, run]


def list_alarms(fleet, runs, cell: str = CELL) -> dict[int, float]:
    """Return the ratio of each alarm of a cell, by run."""
    return {
        run: one.finding.ratio
        for run in runs
        for one in fleet.measure(run).judge_and_confirm(run).alarms
        if f"{one.cell.key.framework} {one.cell.key.model}" == cell
    }


@pytest.mark.parametrize("unstable_since", [BEFORE, 0])
@pytest.mark.parametrize("seed", range(3))
def test_a_slower_and_unstable_cell_raises_one_alarm_within_three_runs(
    make_fleet, seed: int, unstable_since: int
) -> None:
    fleet = make_fleet(
        seed,
        lambda cell, at: 1.5 if cell == CELL and at >= BEFORE else 1.0,
        unstable=lambda cell, at: cell == CELL and at >= unstable_since,
    ).measure(*range(BEFORE))
    (run,) = list_alarms(fleet, range(BEFORE, BEFORE + 20))
    assert run < BEFORE + 3


def test_an_unstable_run_needs_a_larger_step_to_be_suspicious(make_fleet) -> None:
    def suspicious(step: float, unstable_on: int) -> bool:
        def change(cell: str, at: int) -> float:
            return 1 + step if cell == CELL and at == BEFORE else 1.0

        def unstable(cell: str, at: int) -> bool:
            return cell == CELL and at == unstable_on

        fleet = make_fleet(3, change, unstable=unstable).measure(*range(BEFORE + 1))
        return bool(fleet.judge_run(BEFORE).unconfirmed)

    never = -1
    assert suspicious(0.1, never)
    assert not suspicious(0.1, BEFORE)
    assert suspicious(0.6, BEFORE)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("seed", range(4))
def test_a_slow_drift_of_12_percent_in_40_runs_raises_an_alarm_each_time_it_grows_as_much_again(
    make_fleet, seed: int
) -> None:
    def drifting(cell: str, at: int) -> float:
        return 1.003 ** max(0, at - BEFORE) if cell == CELL else 1.0

    fleet = make_fleet(seed, drifting).measure(*range(BEFORE))
    runs = list(list_alarms(fleet, range(BEFORE, BEFORE + 40)))
    assert 1 <= len(runs) <= 4
    growth = [1.003 ** (b - a) for a, b in pairwise(runs)]
    assert all(factor > 1.02 for factor in growth)
    assert 1.003 ** (runs[0] - BEFORE) < 1.08


def test_a_second_sharp_step_raises_an_alarm_even_if_it_is_smaller(
    make_fleet,
) -> None:
    def change(cell: str, at: int) -> float:
        if cell != CELL or at < BEFORE:
            return 1.0
        return 1.5 if at < BEFORE + 15 else 1.5 * 1.12

    fleet = make_fleet(1, change).measure(*range(BEFORE))
    first, second = list_alarms(fleet, range(BEFORE, BEFORE + 20))
    assert first == BEFORE
    assert BEFORE + 15 <= second < BEFORE + 18


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("rho", RHOS)
def test_autocorrelated_runs_raise_no_more_alarms_than_promised(
    make_fleet, calm, rho: float
) -> None:
    fleet = make_fleet(1, correlated(calm, rho, 200, 1))
    alarms = 0
    for run in range(200):
        verdict = fleet.measure(run).judge_and_confirm(run)
        alarms += bool(verdict.alarms)
    assert alarms <= PROMISED_RATE * 200
    assert estimate_false_alarms(verdict).rate <= PROMISED_RATE


def test_all_cells_together_show_the_autocorrelation_of_runs(make_fleet, calm) -> None:
    def lag1(rho: float) -> list[float]:
        fleet = make_fleet(1, correlated(calm, rho, 90, 1)).measure(*range(90))
        cells = fleet.judge_run(89).cells
        return [series.dependence.lag1 for cell in cells for series in cell.series.values()]

    # Independent variation of processes dilutes it: 0.02 of the run beside 0.008 of its processes.
    assert all(0.3 < found < 0.8 for found in lag1(0.7))
    assert all(found < 0.2 for found in lag1(0.0))


def test_autocorrelated_runs_are_resampled_in_blocks(make_fleet, calm) -> None:
    fleet = make_fleet(1, correlated(calm, 0.7, 60, 1)).measure(*range(60))
    assert estimate_false_alarms(fleet.judge_run(59)).block >= 4
    assert estimate_false_alarms(make_fleet(1).measure(*range(60)).judge_run(59)).block <= 2


def test_blocks_contain_every_run_once_and_keep_neighbours() -> None:
    order = shuffle_blocks(23, 5, random.Random(1))
    assert sorted(order) == list(range(23))
    adjacent = sum((b - a) % 23 == 1 for a, b in pairwise(order))
    assert adjacent >= 18  # 22 pairs, of which at most 4 are where blocks meet
    assert order != list(range(23))


@pytest.mark.parametrize("onset", [2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_step_within_the_first_runs_raises_one_alarm_that_names_its_run(
    make_fleet, onset: int, seed: int
) -> None:
    fleet = make_fleet(seed, lambda cell, at: 1.1 if cell == CELL and at >= onset else 1.0)
    alarms = {}
    for run in range(24):
        for one in fleet.measure(run).judge_and_confirm(run).alarms:
            alarms[run] = (
                one.finding.kind,
                one.cell.key.model,
                fleet.run_number(one.finding.since),
            )
    (run,) = alarms
    assert run <= 9
    assert alarms[run] == (Kind.SLOWER, "my-lenet", onset)
