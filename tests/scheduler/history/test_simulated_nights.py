"""Two hundred nights of real processes: what alarms, what is found, and what is not."""

from collections.abc import Callable

import pytest

from velodrome.scheduler.history.false_alarms import false_alarms
from velodrome.scheduler.history.latest_run import PROMISED, Kind, RunVerdict

pytestmark = [pytest.mark.slow, pytest.mark.full]

SLOWED = "torch my-lstm"
BEFORE = 20  # nights of history
TRIALS = 60
SHARE = 0.95  # of trials in which a step is found
WITHIN = 3  # nights


def slowed(share: float, since: int) -> Callable[[str, int], float]:
    return lambda cell, night: 1 + share if cell == SLOWED and night >= since else 1.0


def alarming(verdict: RunVerdict) -> list[str]:
    return [f"{one.cell.key.framework} {one.cell.key.model}" for one in verdict.alarms]


def first_alarm(nights, seed: int, share: float) -> tuple[list[str], Kind, int] | None:
    """(cells that alarm, kind, since which night); None if there is none within WITHIN nights."""
    fleet = nights(seed, slowed(share, BEFORE)).pass_by(*range(BEFORE))
    for night in range(BEFORE, BEFORE + WITHIN):
        verdict = fleet.pass_by(night).night_of_ours(night)
        if verdict.alarms:
            finding = verdict.alarms[0].finding
            return alarming(verdict), finding.kind, fleet.number(finding.since)
    return None


def test_200_nights_on_which_nothing_changed_alarm_no_more_often_than_promised(
    nights, real
) -> None:
    fleet = nights(cells=real)
    alarms = 0
    for night in range(200):
        verdict = fleet.pass_by(night).night_of_ours(night)
        alarms += bool(verdict.alarms)
    assert alarms <= PROMISED * 200
    told = false_alarms(verdict)
    assert told.nights >= 100
    assert told.rate <= PROMISED


def test_a_step_of_5_percent_is_found_within_3_nights_with_its_cell_and_its_night(nights) -> None:
    outcomes = [first_alarm(nights, seed, 0.05) for seed in range(TRIALS)]
    found = [one for one in outcomes if one]
    assert len(found) >= SHARE * TRIALS
    named = [kind for cells, kind, since in found if cells == [SLOWED] and since == BEFORE]
    assert named == [Kind.SLOWER] * len(named)
    assert len(named) >= SHARE * TRIALS
    others = sum(cells != [SLOWED] for cells, _, _ in found)
    assert others <= PROMISED * TRIALS / 2


def test_a_step_as_large_as_the_minimum_detectable_change_is_found_and_half_of_it_is_not_promised(
    nights,
) -> None:
    told = nights().pass_by(*range(BEFORE)).judged(BEFORE - 1)
    smallest = next(
        dict(one.detectable)["gradient"] for one in told.watched if one.cell.key.model == "my-lstm"
    )
    assert 0.02 < smallest < 0.2
    found = sum(bool(first_alarm(nights, seed, smallest)) for seed in range(TRIALS))
    half = sum(bool(first_alarm(nights, seed, smallest / 2)) for seed in range(TRIALS // 2))
    assert found >= SHARE * TRIALS
    assert half < SHARE * TRIALS / 2


def test_a_drift_of_half_a_percent_a_night_alarms_before_it_has_come_to_a_tenth(nights) -> None:
    def drifting(cell: str, night: int) -> float:
        return 1.005 ** max(0, night - BEFORE) if cell == SLOWED else 1.0

    fleet = nights(1, drifting).pass_by(*range(BEFORE))
    alarms = [
        night
        for night in range(BEFORE, BEFORE + 20)
        if SLOWED in alarming(fleet.pass_by(night).night_of_ours(night))
    ]
    assert alarms
