"""Commands on results with unsound files: their exit status, and what they print."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from unsound_results import (
    OTHER,
    SWEEP,
    change_sweep_id,
    damage_page,
    files,
    write_foreign_file,
)

from velodrome.scheduler.commands.compare import Form, compare
from velodrome.scheduler.commands.compare import exit_status as compare_status
from velodrome.scheduler.commands.incomplete_results import check_results
from velodrome.scheduler.commands.query import Format, query
from velodrome.scheduler.commands.report import ReportKind, report
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.errors import INCOMPLETE
from velodrome.scheduler.results.schema import TABLES


class TestCommands:
    """Each command has its own exit status and says that rows are missing."""

    @pytest.fixture
    def broken(self, results: Path) -> Path:
        path = files(results, "tasks")[0]
        path.write_bytes(path.read_bytes()[:-20])
        return path

    @pytest.mark.parametrize("form", [Form.TERMINAL, Form.MARKDOWN])
    def test_report(self, results: Path, broken: Path, form: Form, capsys) -> None:  # type: ignore[no-untyped-def]
        assert report(results, SWEEP, ReportKind.TIMES, form, None).status == INCOMPLETE
        captured = capsys.readouterr()
        assert "ROWS ARE MISSING" in captured.out
        assert f"left out: {broken}: " in captured.err
        assert "velodrome results check" in captured.err

    @pytest.mark.parametrize("form", [Form.CSV, Form.JSON])
    def test_report_for_a_program(self, results: Path, broken: Path, form: Form, capsys) -> None:  # type: ignore[no-untyped-def]
        assert report(results, SWEEP, ReportKind.TIMES, form, None).status == INCOMPLETE
        captured = capsys.readouterr()
        assert "MISSING" not in captured.out
        assert str(broken) in captured.err

    def test_a_report_of_another_sweep_is_whole(self, results: Path, broken: Path, capsys) -> None:  # type: ignore[no-untyped-def]
        assert report(results, OTHER, ReportKind.TIMES, Form.TERMINAL, None).status == 0
        captured = capsys.readouterr()
        assert "MISSING" not in captured.out
        assert str(broken) in captured.err  # its history would have used it

    def test_page(self, results: Path, broken: Path, tmp_path: Path) -> None:
        page = tmp_path / "page.html"
        assert write_page(results, SWEEP, page).status == INCOMPLETE
        assert f"ROWS ARE MISSING: a file could not be read: {broken}" in page.read_text()

    def test_compare(self, results: Path, broken: Path, capsys) -> None:  # type: ignore[no-untyped-def]
        outcome = compare(SWEEP, OTHER, str(results), form=Form.TERMINAL)
        assert compare_status(outcome, ()) == INCOMPLETE
        captured = capsys.readouterr()
        assert "ROWS ARE MISSING" in captured.out
        assert str(broken) in captured.err

    def test_query(self, results: Path, broken: Path, capsys) -> None:  # type: ignore[no-untyped-def]
        assert query("SELECT count(*) AS n FROM tasks", results, Format.JSON, None) == INCOMPLETE
        captured = capsys.readouterr()
        assert json.loads(captured.out) == [{"n": 3}]
        assert str(broken) in captured.err
        assert query("SELECT count(*) FROM samples", results, Format.CSV, None) == 0


class TestCheck:
    def check(self, results: Path) -> tuple[int, list[dict[str, object]]]:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = check_results(results, as_json=True)
        return status, json.loads(out.getvalue())

    def test_sound_results_have_no_findings(self, results: Path, capsys) -> None:  # type: ignore[no-untyped-def]
        assert self.check(results) == (0, [])
        assert check_results(results, as_json=False) == 0
        assert "every file in" in capsys.readouterr().out

    def test_every_unsound_file_is_listed_with_its_remedy(self, results: Path) -> None:
        broken = {table: files(results, table)[0] for table in TABLES}
        damage_page(broken["tasks"])
        for table in ("samples", "utilization", "nodes"):
            broken[table].write_bytes(b"")
        change_sweep_id(broken["parameters"])
        plan = results / "_sweeps" / SWEEP / "plan.parquet"
        plan.write_bytes(b"")
        stray = results / "tasks" / "more.parquet"
        write_foreign_file(stray)
        nested = broken["samples"].parent / "older" / "x.parquet"
        nested.parent.mkdir()
        write_foreign_file(nested)
        status, rows = self.check(results)
        assert status == INCOMPLETE
        wanted = {*map(str, broken.values()), str(plan), str(stray), str(nested)}
        assert {row["path"] for row in rows} == wanted
        assert all(row["problem"] and row["mend"] for row in rows)

    def test_a_sweeps_folder_that_is_a_file_is_named(self, results: Path) -> None:
        place = results / "samples" / "sweep=20261126-063012-a1b2c3d4"
        place.write_text("")
        _, rows = self.check(results)
        assert [row["path"] for row in rows] == [str(place)]
