"""Exit status and messages of a run that measured nothing, or less than its sweep promises."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from made_rows import typed

from velodrome.scheduler.commands.nightly import NightlyOptions, NightlyRunFailed, nightly
from velodrome.scheduler.commands.target import Target as Place
from velodrome.scheduler.errors import INCOMPLETE, StoreError
from velodrome.scheduler.history.false_alarms import estimate_false_alarms
from velodrome.scheduler.history.history_reading import list_run_ids, read_history
from velodrome.scheduler.history.latest_run import judge
from velodrome.scheduler.nightly.junit import format_junit
from velodrome.scheduler.nightly.missing_cells import (
    PromisedCells,
    find_unmeasured,
    find_vanished,
    has_time,
    select_planned,
)
from velodrome.scheduler.nightly.nightly_result import NightlyRun
from velodrome.scheduler.nightly.summary import format_summary
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.sweeps.sweep import PlacementRule

Row = Mapping[str, object]
CELL = "torch my-lstm"
GPUS = "name: gpus\nframeworks: [torch]\nmodels: [lenet]\ndevices: [{gpu: none-is-called-so}]\n"


def make_run(fleet, number: int, promised: PromisedCells | None = None) -> NightlyRun:
    verdict = fleet.judge_run(number)
    history = fleet.history()
    name = verdict.sweep_id
    rows = typed(row for row in fleet.rows if row["sweep_id"] == name)
    promised = promised or PromisedCells({cell.key for cell in history})
    return NightlyRun(
        name="nightly",
        verdict=verdict,
        false_alarms=estimate_false_alarms(verdict),
        explanations={},
        number=number + 1,
        started_at=datetime(2026, 1, 1),
        seconds=60,
        repeats=len(rows),
        measured=sum(map(has_time, select_planned(rows))),
        unmeasured=find_unmeasured(rows),
        vanished=find_vanished(history, name, rows, promised),
    )


def errors(run: NightlyRun) -> list[str]:
    return [str(one.get("message")) for one in ET.fromstring(format_junit(run)).iter("error")]


def remove(fleet, run: int, cell: str) -> None:
    """Remove the rows of a cell from a run."""
    framework, model = cell.split()
    fleet.rows = [
        row
        for row in fleet.rows
        if (row["sweep_id"], row["framework"], row["model"])
        != (fleet.judge_run(run).sweep_id, framework, model)
    ]


class TestUnmeasured:
    def test_a_complete_run_has_exit_status_0(self, make_fleet) -> None:
        run = make_run(make_fleet().measure(0, 1), 1)
        assert (run.exit_status, errors(run)) == (0, [])
        assert "no regression" in format_summary(run)

    @pytest.mark.parametrize("runs_before", [0, 1, 2, 5])
    def test_a_run_that_measured_nothing_is_incomplete(self, make_fleet, runs_before: int) -> None:
        fleet = make_fleet()
        for at in range(runs_before + 1):
            fleet.measure(at)
        failed = {"status": "crashed", "reason": "died of signal 11", "unexpected": True}
        for row in fleet.rows:
            row.update(failed, forward_median_ns=None, gradient_median_ns=None)
        run = make_run(fleet, runs_before)
        assert run.exit_status == INCOMPLETE
        assert any(line.startswith("NOTHING WAS MEASURED") for line in format_summary(run))
        assert not any("no regression" in line for line in format_summary(run))
        assert len(errors(run)) == len(fleet.cells)

    def test_every_run_names_a_cell_without_a_number_with_its_reason(self, make_fleet) -> None:
        fleet = make_fleet()
        for at in range(4):  # from the third on it is in quarantine
            fleet.measure(at)
            fleet.fail(CELL, at)
            run = make_run(fleet, at)
            assert run.exit_status == INCOMPLETE
            text = "\n".join(format_summary(run))
            assert "INCOMPLETE: " in text
            assert "crashed in 5 of 5 repeats: died of signal 11" in text
            assert "no regression in what was measured" in text
            assert len(errors(run)) == 1

    def test_a_regression_has_exit_status_1_although_cells_have_no_number(self, make_fleet) -> None:
        fleet = make_fleet().measure(0, 1)
        fleet.fail(CELL, 1)
        fleet.fail(CELL, 1, first=1000)
        assert make_run(fleet, 1).exit_status == 1

    def test_a_cell_that_is_expected_to_have_no_number_is_not_missing(self, make_fleet) -> None:
        fleet = make_fleet().measure(0)
        fleet.fail(CELL, 0)
        for row in fleet.rows:
            row["unexpected"] = False
        assert make_run(fleet, 0).exit_status == 0

    def test_a_run_without_rows_is_incomplete(self, make_fleet) -> None:
        run = replace(make_run(make_fleet().measure(0), 0), measured=0, repeats=0)
        assert run.exit_status == INCOMPLETE
        assert errors(run) == ["NOTHING WAS MEASURED: none of 0 repeats has a number"]


class TestVanished:
    def gone(self, make_fleet, promise=None, cell: str = CELL) -> NightlyRun:
        fleet = make_fleet().measure(0, 1)
        cells = PromisedCells({one.key for one in fleet.history()})
        remove(fleet, 1, cell)
        return make_run(fleet, 1, promise or cells)

    def test_a_missing_cell_of_the_previous_run_is_named(self, make_fleet) -> None:
        run = self.gone(make_fleet)
        (line,) = (line for line in format_summary(run) if line.startswith("vanished"))
        assert "torch[eager] my-lstm" in line
        assert "its node or GPU is missing" in line
        assert run.exit_status == INCOMPLETE
        assert errors(run) == ["vanished: its node or GPU is missing"]

    def test_a_cell_that_left_the_sweep_is_named_and_is_no_error(self, make_fleet) -> None:
        run = self.gone(make_fleet, PromisedCells(()))
        assert any("the sweep no longer contains it" in line for line in format_summary(run))
        assert (run.exit_status, errors(run)) == (0, [])

    def test_a_cell_that_the_budget_left_out_is_no_error(self, make_fleet) -> None:
        cells = {one.key for one in make_fleet().measure(0).history()}
        run = self.gone(make_fleet, PromisedCells(cells, budget_s=60.0))
        assert any("there was no time for it" in line for line in format_summary(run))
        assert run.exit_status == 0
        assert (
            self.gone(make_fleet, PromisedCells(cells, budget_s=math.inf)).exit_status == INCOMPLETE
        )

    @pytest.mark.parametrize(
        ("where", "status"), [(PlacementRule.ANY, 0), (PlacementRule.EACH_NODE, INCOMPLETE)]
    )
    def test_a_cell_that_ran_on_another_node_is_missing_for_each_node(
        self, make_fleet, where: PlacementRule, status: int
    ) -> None:
        fleet = make_fleet().measure(0, 1)
        for row in fleet.rows:
            if row["sweep_id"] == fleet.judge_run(1).sweep_id and row["model"] == "my-lstm":
                row["node_id"] = row["hostname"] = "host2"
        cells = {cell.key for cell in fleet.history()}
        run = make_run(fleet, 1, PromisedCells(cells, where))
        assert run.exit_status == status
        assert any(line.startswith("vanished") and "host1" in line for line in format_summary(run))

    def test_no_cell_vanishes_in_the_first_run(self, make_fleet) -> None:
        assert make_run(make_fleet().measure(0), 0).vanished == ()


class TestUnreadableRuns:
    TEXT = "name: nightly\nframeworks: [torch]\nmodels: [lenet]\n"

    def store_runs(self, make_fleet, store: Store, count: int) -> list[Path]:
        fleet = make_fleet(repeats=1)
        for number in range(count):
            fleet.store_run(store, number, self.TEXT)
        return sorted(Path(store.name).glob("tasks/*/*.parquet"))

    def test_an_unreadable_file_is_left_out_and_named(self, make_fleet, store: Store) -> None:
        files = self.store_runs(make_fleet, store, 3)
        oldest = [path for path in files if path.parent == files[0].parent]
        for path in oldest:
            path.write_bytes(b"")
        reader = store.reader()
        history = read_history(reader, "nightly")
        assert {len(points) for points in history.values()} == {2}
        assert {fault.path for fault in reader.faults} == set(map(str, oldest))
        assert judge(history, list_run_ids(reader, "nightly")[0]).alarms == ()
        with pytest.raises(StoreError):
            read_history(store, "nightly")

    def test_a_damaged_sweep_file_is_named(self, make_fleet, store: Store) -> None:
        self.store_runs(make_fleet, store, 2)
        (text, _) = sorted(Path(store.name).glob("_sweeps/*/sweep.yaml"))
        text.write_bytes(bytes(100))
        reader = store.reader()
        assert len(list_run_ids(reader, "nightly")) == 1
        assert [fault.path for fault in reader.faults] == [str(text)]


def test_results_that_cannot_be_stored_are_no_regression(tmp_path: Path) -> None:
    path = tmp_path / "gpus.yaml"
    path.write_text(GPUS)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "tasks").write_text("a file where rows belong")
    typed = NightlyOptions(tmp_path / "results", "", "", tmp_path / "site", None)
    with pytest.raises(NightlyRunFailed) as caught:
        nightly(path, typed, Place(), as_json=False)
    assert caught.value.exit_status == INCOMPLETE
    assert str(tmp_path / "results") in str(caught.value)


@pytest.mark.slow
@pytest.mark.full
def test_a_sweep_that_no_node_fits_is_incomplete_in_every_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gpus.yaml"
    path.write_text(GPUS)
    typed = NightlyOptions(tmp_path / "results", "", "", tmp_path / "site", None)
    for run in range(2):
        if run:
            (old,) = (tmp_path / "results" / "tasks").rglob("*.parquet")
            old.write_bytes(b"")
        assert nightly(path, typed, Place(), as_json=False) == INCOMPLETE
        output = capsys.readouterr().out
        assert "NOTHING WAS MEASURED" in output
        assert "unplaceable: needs 1 GPU" in output
        assert (f"left out of the history  {tmp_path}" in output) == bool(run)
    xml = ET.parse(tmp_path / "site" / "junit.xml").getroot()
    assert xml.get("errors") == "1"
    assert "NOTHING WAS MEASURED" in (tmp_path / "site" / "index.html").read_text()
