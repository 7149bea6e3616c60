"""What a night's verdict is, night by night: told once, to whom, and never from quarantine."""

from dataclasses import replace

import pytest
from made_rows import typed

from velodrome.agents.measurement import Status
from velodrome.scheduler.history.cell_series import Condition, point_of
from velodrome.scheduler.history.latest_run import Kind, Proof, judge
from velodrome.scheduler.history.quarantine import quarantined_since
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.task_row import task_row

CELL = "torch my-lenet"
CALM = 12


def slower_since(night: int, factor: float = 1.5):
    return lambda cell, at: factor if cell == CELL and at >= night else 1.0


def of(verdict, cell: str = CELL):
    return next(
        one for one in verdict.watched if f"{one.cell.key.framework} {one.cell.key.model}" == cell
    )


def test_a_step_is_suspicious_on_its_first_night_and_alarms_only_when_measured_again(
    nights,
) -> None:
    fleet = nights(change=slower_since(CALM)).pass_by(*range(CALM + 1))
    before = fleet.judged(CALM)
    assert not before.alarms
    assert [one.cell for one in before.open] == [of(before).cell]
    after = fleet.night_of_ours(CALM)
    found = of(after).finding
    assert (found.kind, found.proof, fleet.number(found.since)) == (
        Kind.SLOWER,
        Proof.CONFIRMED,
        CALM,
    )
    assert found.ratio == pytest.approx(1.5, rel=0.1)
    assert [one.cell for one in after.alarms] == [of(after).cell]


def test_what_measuring_again_contradicts_is_no_alarm(nights) -> None:
    fleet = nights().pass_by(*range(CALM))
    fleet.change = slower_since(CALM)
    fleet.pass_by(CALM)
    fleet.change = lambda cell, night: 1.0
    verdict = fleet.night_of_ours(CALM)
    assert of(verdict).finding.proof is Proof.CONTRADICTED
    assert not verdict.alarms
    assert not verdict.open


def test_a_step_is_told_once_and_the_way_back_is_no_alarm(nights) -> None:
    there_and_back = lambda cell, at: 1.5 if cell == CELL and 12 <= at < 20 else 1.0  # noqa: E731
    fleet = nights(change=there_and_back).pass_by(*range(CALM))
    told = {}
    for night in range(CALM, 26):
        verdict = fleet.pass_by(night).night_of_ours(night)
        if found := of(verdict).finding:
            told[night] = (found.kind, bool(verdict.alarms))
    assert told == {12: (Kind.SLOWER, True), 20: (Kind.FASTER, False)}


def test_a_time_that_a_check_disproved_is_a_failed_night_and_no_level(nights) -> None:
    kept = replace(
        nights().measurement(CELL, 0, 0, 83.0, 90.0),
        status=Status.DISAGREED,
        reason="not_seen_before of forward failed: it was kept",
    )
    point = point_of(typed([task_row("20261124-063012-a1b2", kept)]))
    assert (point.condition, point.levels, point.reason) == (Condition.FAILED, {}, kept.reason)


def test_nights_that_are_missing_are_no_step(nights) -> None:
    fleet = nights().pass_by(0, 1, 5, 6, 7, 8, 20, 21, 22, 60, 61)
    assert not fleet.night_of_ours(61).open


def test_another_node_has_a_history_of_its_own(nights) -> None:
    fleet = nights().pass_by(*range(CALM))
    fleet.hostname, fleet.change = "host2", lambda cell, night: 2.0
    verdict = fleet.pass_by(CALM).night_of_ours(CALM)
    assert {one.cell.hostname for one in verdict.watched} == {"host2"}
    assert {len(one.points) for one in verdict.watched} == {1}
    assert not verdict.open


def test_a_week_of_nights_is_needed_before_anything_is_suspicious(nights) -> None:
    fleet = nights(change=slower_since(5)).pass_by(*range(7))
    assert not fleet.judged(6).open


def test_a_cell_that_fails_alarms_on_its_first_night_if_it_fails_again(nights) -> None:
    fleet = nights().pass_by(*range(CALM))
    fleet.fail(CELL, CALM)
    first = fleet.judged(CALM)
    assert of(first).finding.kind is Kind.FAILS
    assert of(first).finding.reason == "died of signal 11"
    assert not first.alarms
    fleet.fail(CELL, CALM, first=1000)
    assert fleet.judged(CALM).alarms
    fleet.fail(CELL, CALM + 1)
    assert of(fleet.judged(CALM + 1)).finding is None


def test_three_failed_nights_put_a_cell_in_quarantine_where_it_is_followed_and_fails_in_silence(
    nights,
) -> None:
    fleet = nights().pass_by(*range(CALM))
    for night in range(CALM, CALM + 3):
        fleet.fail(CELL, night)
    fleet.pass_by(CALM + 3).fail(CELL, CALM + 4)
    verdict = fleet.judged(CALM + 4)
    assert fleet.number(of(verdict).quarantined) == CALM + 2
    assert of(verdict).finding.kind is Kind.FAILS
    assert not verdict.open
    assert not verdict.alarms


def test_a_step_that_stands_out_of_the_noise_alarms_from_quarantine_too(nights) -> None:
    fleet = nights().pass_by(*range(CALM))
    for night in range(CALM, CALM + 3):
        fleet.fail(CELL, night)
    fleet.change = slower_since(0)
    verdict = fleet.pass_by(CALM + 3).night_of_ours(CALM + 3)
    assert of(verdict).quarantined
    assert [one.cell for one in verdict.alarms] == [of(verdict).cell]


@pytest.mark.parametrize(
    ("nights_as_letters", "since"),
    [("gggbb", None), ("gbbb", 3), ("bbbgg", 2), ("bbbggg", None), ("bbgbbgbb", None), ("", None)],
)
def test_three_bad_nights_in_a_row_lead_into_quarantine_and_three_good_ones_out(
    nights_as_letters: str, since: int | None
) -> None:
    conditions = {"g": Condition.GOOD, "b": Condition.UNSTABLE}
    assert quarantined_since(conditions[letter] for letter in nights_as_letters) == since


def test_nights_that_went_through_a_store_are_judged_as_they_were_put_in(
    nights, store: Store
) -> None:
    from velodrome.scheduler.history.history_reading import read_history

    fleet = nights(repeats=1, change=slower_since(9, 2.0))
    fleet.cells = {CELL: fleet.cells[CELL]}
    for night in range(10):
        fleet.put(store, night, "name: nightly\n")
    fleet.put(store, 10, "name: another\n")
    found = read_history(store, "nightly")
    (points,) = found.values()
    assert [fleet.number(point) for point in points] == list(range(10))
    verdict = judge(found, points[-1].sweep_id)
    assert of(verdict).finding.kind is Kind.SLOWER
