"""What is told, and how often, of nights that are unstable, creep, hang together or are few."""

import math
import random
from itertools import pairwise

import pytest

from velodrome.scheduler.history.false_alarms import false_alarms, in_blocks
from velodrome.scheduler.history.latest_run import PROMISED, Kind

CELL = "torch my-lenet"
BEFORE = 20
RHOS = (0.3, 0.5, 0.7)


def correlated(cells, rho: float, nights: int, seed: int, effect: float = 0.02):
    """A factor per cell and night: AR(1) of that standard deviation, each cell's own."""
    draw, found = random.Random(seed), {}
    for cell in cells:
        value = draw.gauss(0, effect)
        for night in range(nights):
            found[cell, night] = math.exp(value)
            value = rho * value + math.sqrt(1 - rho**2) * draw.gauss(0, effect)
    return lambda cell, night: found[cell, night]


def alarms_of(fleet, nights, cell: str = CELL) -> dict[int, float]:
    """By night, the ratio that the cell alarms with."""
    return {
        night: one.finding.ratio
        for night in nights
        for one in fleet.pass_by(night).night_of_ours(night).alarms
        if f"{one.cell.key.framework} {one.cell.key.model}" == cell
    }


@pytest.mark.parametrize("unstable_since", [BEFORE, 0])
@pytest.mark.parametrize("seed", range(3))
def test_a_cell_that_is_slower_and_unstable_is_told_once_within_three_nights(
    nights, seed: int, unstable_since: int
) -> None:
    fleet = nights(
        seed,
        lambda cell, at: 1.5 if cell == CELL and at >= BEFORE else 1.0,
        unstable=lambda cell, at: cell == CELL and at >= unstable_since,
    ).pass_by(*range(BEFORE))
    (night,) = alarms_of(fleet, range(BEFORE, BEFORE + 20))
    assert night < BEFORE + 3


def test_an_unstable_night_widens_what_a_step_is_held_against(nights) -> None:
    def suspicious(step: float, unstable_on: int) -> bool:
        def change(cell: str, at: int) -> float:
            return 1 + step if cell == CELL and at == BEFORE else 1.0

        def unstable(cell: str, at: int) -> bool:
            return cell == CELL and at == unstable_on

        fleet = nights(3, change, unstable=unstable).pass_by(*range(BEFORE + 1))
        return bool(fleet.judged(BEFORE).open)

    never = -1
    assert suspicious(0.1, never)
    assert not suspicious(0.1, BEFORE)
    assert suspicious(0.6, BEFORE)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("seed", range(4))
def test_a_creep_of_12_percent_in_40_nights_is_told_once_per_step_of_its_size(
    nights, seed: int
) -> None:
    def creeping(cell: str, at: int) -> float:
        return 1.003 ** max(0, at - BEFORE) if cell == CELL else 1.0

    fleet = nights(seed, creeping).pass_by(*range(BEFORE))
    told = alarms_of(fleet, range(BEFORE, BEFORE + 40))
    assert 1 <= len(told) <= 4
    nights_told = list(told)
    gone_on = [1.003 ** (b - a) for a, b in pairwise(nights_told)]
    assert all(gone > 1.02 for gone in gone_on)
    assert 1.003 ** (nights_told[0] - BEFORE) < 1.08


def test_a_second_sharp_step_is_told_though_it_is_smaller_than_the_first(nights) -> None:
    def change(cell: str, at: int) -> float:
        if cell != CELL or at < BEFORE:
            return 1.0
        return 1.5 if at < BEFORE + 15 else 1.5 * 1.12

    fleet = nights(1, change).pass_by(*range(BEFORE))
    told = alarms_of(fleet, range(BEFORE, BEFORE + 20))
    first, second = told
    assert first == BEFORE
    assert BEFORE + 15 <= second < BEFORE + 18


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("rho", RHOS)
def test_nights_that_hang_together_alarm_no_more_often_than_promised(
    nights, calm, rho: float
) -> None:
    fleet = nights(1, correlated(calm, rho, 200, 1))
    alarms = 0
    for night in range(200):
        verdict = fleet.pass_by(night).night_of_ours(night)
        alarms += bool(verdict.alarms)
    assert alarms <= PROMISED * 200
    told = false_alarms(verdict)
    assert told.rate <= PROMISED


def test_how_much_nights_hang_together_is_told_by_all_cells(nights, calm) -> None:
    def lag1(rho: float) -> list[float]:
        fleet = nights(1, correlated(calm, rho, 90, 1)).pass_by(*range(90))
        watched = fleet.judged(89).watched
        return [series.dependence.lag1 for one in watched for series in one.series.values()]

    # The luck of a night's own processes dilutes it: 0.02 of the night beside 0.008 of its own.
    assert all(0.3 < found < 0.8 for found in lag1(0.7))
    assert all(found < 0.2 for found in lag1(0.0))


def test_nights_that_hang_together_are_dealt_out_in_blocks(nights, calm) -> None:
    fleet = nights(1, correlated(calm, 0.7, 60, 1)).pass_by(*range(60))
    assert false_alarms(fleet.judged(59)).block >= 4
    assert false_alarms(nights(1).pass_by(*range(60)).judged(59)).block <= 2


def test_blocks_hold_every_night_once_and_keep_neighbours() -> None:
    order = in_blocks(23, 5, random.Random(1))
    assert sorted(order) == list(range(23))
    kept = sum((b - a) % 23 == 1 for a, b in pairwise(order))
    assert kept >= 18  # 22 pairs, of which at most 4 are where blocks meet
    assert order != list(range(23))


@pytest.mark.parametrize("onset", [2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_step_within_the_first_nights_is_told_once_with_its_night(
    nights, onset: int, seed: int
) -> None:
    fleet = nights(seed, lambda cell, at: 1.1 if cell == CELL and at >= onset else 1.0)
    told = {}
    for night in range(24):
        for one in fleet.pass_by(night).night_of_ours(night).alarms:
            told[night] = (one.finding.kind, one.cell.key.model, fleet.number(one.finding.since))
    (night,) = told
    assert night <= 9
    assert told[night] == (Kind.SLOWER, "my-lenet", onset)
