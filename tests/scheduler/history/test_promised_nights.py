"""A night that measured nothing, or less than its sweep promises, is not green."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from made_rows import typed

from velodrome.scheduler.commands.nightly import NightCutShort, NightlyOptions, nightly
from velodrome.scheduler.commands.target import Target as Place
from velodrome.scheduler.errors import INCOMPLETE, StoreError
from velodrome.scheduler.history.false_alarms import false_alarms
from velodrome.scheduler.history.history_reading import night_ids, read_history
from velodrome.scheduler.history.latest_run import judge
from velodrome.scheduler.nightly.junit import junit
from velodrome.scheduler.nightly.missing_cells import Promise, has_time, lacking, planned, vanished
from velodrome.scheduler.nightly.nightly_result import Night
from velodrome.scheduler.nightly.summary import summary
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.sweeps.sweep import PlacementRule

Row = Mapping[str, object]
CELL = "torch my-lstm"
GPUS = "name: gpus\nframeworks: [torch]\nmodels: [lenet]\ndevices: [{gpu: none-is-called-so}]\n"


def night_of(fleet, number: int, promise: Promise | None = None) -> Night:
    verdict = fleet.judged(number)
    history = fleet.history()
    name = verdict.sweep_id
    rows = typed(row for row in fleet.rows if row["sweep_id"] == name)
    promise = promise or Promise({cell.key for cell in history})
    return Night(
        name="nights",
        verdict=verdict,
        false_alarms=false_alarms(verdict),
        explanations={},
        number=number + 1,
        began=datetime(2026, 1, 1),
        seconds=60,
        runs=len(rows),
        measured=sum(map(has_time, planned(rows))),
        lacking=lacking(rows),
        vanished=vanished(history, name, rows, promise),
    )


def errors(night: Night) -> list[str]:
    return [str(one.get("message")) for one in ET.fromstring(junit(night)).iter("error")]


def without(fleet, night: int, cell: str) -> None:
    """As if it had not been there on that night."""
    framework, model = cell.split()
    fleet.rows = [
        row
        for row in fleet.rows
        if (row["sweep_id"], row["framework"], row["model"])
        != (fleet.judged(night).sweep_id, framework, model)
    ]


class TestLess:
    def test_a_whole_night_is_green(self, nights) -> None:
        night = night_of(nights().pass_by(0, 1), 1)
        assert (night.exit_status, errors(night)) == (0, [])
        assert "no regression" in summary(night)

    @pytest.mark.parametrize("nights_before", [0, 1, 2, 5])
    def test_of_which_nothing_could_be_measured(self, nights, nights_before: int) -> None:
        fleet = nights()
        for at in range(nights_before + 1):
            fleet.pass_by(at)
        failed = {"status": "crashed", "reason": "died of signal 11", "unexpected": True}
        for row in fleet.rows:
            row.update(failed, forward_median_ns=None, gradient_median_ns=None)
        night = night_of(fleet, nights_before)
        assert night.exit_status == INCOMPLETE
        assert any(line.startswith("NOTHING WAS MEASURED") for line in summary(night))
        assert not any("no regression" in line for line in summary(night))
        assert len(errors(night)) == len(fleet.cells)

    def test_one_cell_without_a_number_is_named_with_its_reason_each_night(self, nights) -> None:
        fleet = nights()
        for at in range(4):  # from the third on it is in quarantine
            fleet.pass_by(at)
            fleet.fail(CELL, at)
            night = night_of(fleet, at)
            assert night.exit_status == INCOMPLETE
            said = "\n".join(summary(night))
            assert "INCOMPLETE: " in said
            assert "crashed in 5 of 5 runs: died of signal 11" in said
            assert "no regression in what was measured" in said
            assert len(errors(night)) == 1

    def test_a_regression_is_1_whatever_else_there_is(self, nights) -> None:
        fleet = nights().pass_by(0, 1)
        fleet.fail(CELL, 1)
        fleet.fail(CELL, 1, first=1000)
        assert night_of(fleet, 1).exit_status == 1

    def test_what_is_expected_to_have_no_number_is_no_promise(self, nights) -> None:
        fleet = nights().pass_by(0)
        fleet.fail(CELL, 0)
        for row in fleet.rows:
            row["unexpected"] = False
        assert night_of(fleet, 0).exit_status == 0

    def test_a_night_without_a_single_row(self, nights) -> None:
        night = replace(night_of(nights().pass_by(0), 0), measured=0, runs=0)
        assert night.exit_status == INCOMPLETE
        assert errors(night) == ["NOTHING WAS MEASURED: none of 0 runs has a number"]


class TestVanished:
    def gone(self, nights, promise=None, cell: str = CELL) -> Night:
        fleet = nights().pass_by(0, 1)
        asked = Promise({one.key for one in fleet.history()})
        without(fleet, 1, cell)
        return night_of(fleet, 1, promise or asked)

    def test_a_cell_of_the_night_before_is_named(self, nights) -> None:
        night = self.gone(nights)
        (line,) = (line for line in summary(night) if line.startswith("vanished"))
        assert "torch[eager] my-lstm" in line
        assert "its node or GPU is missing" in line
        assert night.exit_status == INCOMPLETE
        assert errors(night) == ["vanished: its node or GPU is missing"]

    def test_one_that_the_sweep_no_longer_asks_for_is_named_and_fine(self, nights) -> None:
        night = self.gone(nights, Promise(()))
        assert any("the sweep no longer contains it" in line for line in summary(night))
        assert (night.exit_status, errors(night)) == (0, [])

    def test_one_that_a_budget_had_no_time_for_is_fine(self, nights) -> None:
        asked = {one.key for one in nights().pass_by(0).history()}
        night = self.gone(nights, Promise(asked, budget_s=60.0))
        assert any("there was no time for it" in line for line in summary(night))
        assert night.exit_status == 0
        assert self.gone(nights, Promise(asked, budget_s=math.inf)).exit_status == INCOMPLETE

    @pytest.mark.parametrize(
        ("where", "status"), [(PlacementRule.ANY, 0), (PlacementRule.EACH_NODE, INCOMPLETE)]
    )
    def test_one_that_ran_on_another_node(self, nights, where: PlacementRule, status: int) -> None:
        fleet = nights().pass_by(0, 1)
        for row in fleet.rows:
            if row["sweep_id"] == fleet.judged(1).sweep_id and row["model"] == "my-lstm":
                row["node_id"] = row["hostname"] = "host2"
        asked = {cell.key for cell in fleet.history()}
        night = night_of(fleet, 1, Promise(asked, where))
        assert night.exit_status == status
        assert any(line.startswith("vanished") and "host1" in line for line in summary(night))

    def test_nothing_vanishes_on_the_first_night(self, nights) -> None:
        assert night_of(nights().pass_by(0), 0).vanished == ()


class TestUnreadableNights:
    TEXT = "name: nights\nframeworks: [torch]\nmodels: [lenet]\n"

    def kept(self, nights, store: Store, count: int) -> list[Path]:
        fleet = nights(repeats=1)
        for number in range(count):
            fleet.put(store, number, self.TEXT)
        return sorted(Path(store.name).glob("tasks/*/*.parquet"))

    def test_a_history_judges_on_the_rest_and_names_the_path(self, nights, store: Store) -> None:
        files = self.kept(nights, store, 3)
        oldest = [path for path in files if path.parent == files[0].parent]
        for path in oldest:
            path.write_bytes(b"")
        reader = store.reader()
        history = read_history(reader, "nights")
        assert {len(points) for points in history.values()} == {2}
        assert {fault.path for fault in reader.faults} == set(map(str, oldest))
        assert judge(history, night_ids(reader, "nights")[0]).alarms == ()
        with pytest.raises(StoreError):
            read_history(store, "nights")

    def test_a_sweep_whose_text_is_gone_bad_is_named(self, nights, store: Store) -> None:
        self.kept(nights, store, 2)
        (text, _) = sorted(Path(store.name).glob("_sweeps/*/sweep.yaml"))
        text.write_bytes(bytes(100))
        reader = store.reader()
        assert len(night_ids(reader, "nights")) == 1
        assert [fault.path for fault in reader.faults] == [str(text)]


def test_results_that_cannot_be_kept_are_no_regression(tmp_path: Path) -> None:
    path = tmp_path / "gpus.yaml"
    path.write_text(GPUS)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "tasks").write_text("a file where rows belong")
    typed = NightlyOptions(tmp_path / "results", "", "", tmp_path / "site", None)
    with pytest.raises(NightCutShort) as caught:
        nightly(path, typed, Place(), as_json=False)
    assert caught.value.exit_status == INCOMPLETE
    assert str(tmp_path / "results") in str(caught.value)


@pytest.mark.slow
@pytest.mark.full
def test_a_sweep_that_no_node_fits_is_not_green_on_any_night(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gpus.yaml"
    path.write_text(GPUS)
    typed = NightlyOptions(tmp_path / "results", "", "", tmp_path / "site", None)
    for night in range(2):
        if night:
            (old,) = (tmp_path / "results" / "tasks").rglob("*.parquet")
            old.write_bytes(b"")
        assert nightly(path, typed, Place(), as_json=False) == INCOMPLETE
        said = capsys.readouterr().out
        assert "NOTHING WAS MEASURED" in said
        assert "unplaceable: needs 1 GPU" in said
        assert (f"left out of the history  {tmp_path}" in said) == bool(night)
    xml = ET.parse(tmp_path / "site" / "junit.xml").getroot()
    assert xml.get("errors") == "1"
    assert "NOTHING WAS MEASURED" in (tmp_path / "site" / "index.html").read_text()
