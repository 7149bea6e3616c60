"""Two hundred runs of real processes: false alarms, detected steps and undetected ones."""

from collections.abc import Callable

import pytest

from velodrome.scheduler.history.false_alarms import estimate_false_alarms
from velodrome.scheduler.history.latest_run import PROMISED_RATE, Kind, RunVerdict

pytestmark = [pytest.mark.slow, pytest.mark.full]

SLOWED = "torch my-lstm"
BEFORE = 20  # runs of history
TRIALS = 60
SHARE = 0.95  # of trials in which a step must be found
WITHIN = 3  # runs


def slow_down(share: float, since: int) -> Callable[[str, int], float]:
    return lambda cell, run: 1 + share if cell == SLOWED and run >= since else 1.0


def list_alarms(verdict: RunVerdict) -> list[str]:
    return [f"{one.cell.key.framework} {one.cell.key.model}" for one in verdict.alarms]


def first_alarm(make_fleet, seed: int, share: float) -> tuple[list[str], Kind, int] | None:
    """Return the cells with an alarm, its kind and first run; None without one in WITHIN runs."""
    fleet = make_fleet(seed, slow_down(share, BEFORE)).measure(*range(BEFORE))
    for run in range(BEFORE, BEFORE + WITHIN):
        verdict = fleet.measure(run).judge_and_confirm(run)
        if verdict.alarms:
            finding = verdict.alarms[0].finding
            return list_alarms(verdict), finding.kind, fleet.run_number(finding.since)
    return None


def test_200_runs_without_a_change_raise_no_more_alarms_than_promised(make_fleet, real) -> None:
    fleet = make_fleet(cells=real)
    alarms = 0
    for run in range(200):
        verdict = fleet.measure(run).judge_and_confirm(run)
        alarms += bool(verdict.alarms)
    assert alarms <= PROMISED_RATE * 200
    estimate = estimate_false_alarms(verdict)
    assert estimate.resamples >= 100
    assert estimate.rate <= PROMISED_RATE


def test_a_step_of_5_percent_is_found_within_3_runs_with_its_cell_and_first_run(make_fleet) -> None:
    outcomes = [first_alarm(make_fleet, seed, 0.05) for seed in range(TRIALS)]
    found = [one for one in outcomes if one]
    assert len(found) >= SHARE * TRIALS
    named = [kind for cells, kind, since in found if cells == [SLOWED] and since == BEFORE]
    assert named == [Kind.SLOWER] * len(named)
    assert len(named) >= SHARE * TRIALS
    others = sum(cells != [SLOWED] for cells, _, _ in found)
    assert others <= PROMISED_RATE * TRIALS / 2


def test_a_step_of_the_minimum_detectable_change_is_found_and_half_of_it_need_not_be(
    make_fleet,
) -> None:
    verdict = make_fleet().measure(*range(BEFORE)).judge_run(BEFORE - 1)
    smallest = next(
        dict(one.detectable)["gradient"] for one in verdict.cells if one.cell.key.model == "my-lstm"
    )
    assert 0.02 < smallest < 0.2
    found = sum(bool(first_alarm(make_fleet, seed, smallest)) for seed in range(TRIALS))
    half = sum(bool(first_alarm(make_fleet, seed, smallest / 2)) for seed in range(TRIALS // 2))
    assert found >= SHARE * TRIALS
    assert half < SHARE * TRIALS / 2


def test_a_drift_of_half_a_percent_per_run_raises_an_alarm_below_10_percent(
    make_fleet,
) -> None:
    def drifting(cell: str, run: int) -> float:
        return 1.005 ** max(0, run - BEFORE) if cell == SLOWED else 1.0

    fleet = make_fleet(1, drifting).measure(*range(BEFORE))
    alarms = [
        run
        for run in range(BEFORE, BEFORE + 20)
        if SLOWED in list_alarms(fleet.measure(run).judge_and_confirm(run))
    ]
    assert alarms
