"""A file that is not sound is named, what is sound is read; nothing is counted twice."""

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_measurements import make_measurement

from velodrome.adapters.protocol import ParameterError
from velodrome.agents.measurement import Measurement, Reading, Sample
from velodrome.agents.node import Core, Node
from velodrome.scheduler.commands.compare import Form, compare
from velodrome.scheduler.commands.compare import exit_status as compare_status
from velodrome.scheduler.commands.incomplete_results import check_results
from velodrome.scheduler.commands.query import Format, query
from velodrome.scheduler.commands.report import ReportKind, report
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.errors import INCOMPLETE, StoreError
from velodrome.scheduler.plans.placement import Placement, Plan
from velodrome.scheduler.results.deduplication import Report
from velodrome.scheduler.results.file_faults import FaultKind, FileFault, fault_of_error
from velodrome.scheduler.results.schema import TABLES, VERSION_KEY
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.store_reader import retry_if_vanished

SWEEP, OTHER = "20261124-063012-a1b2c3d4", "20261125-063012-a1b2c3d4"
TEXT = "frameworks: [torch]\nmodels: [lenet]\n"
NODES = tuple(Node(f"n{at}", f"host{at}", "CPU", (Core(0, (0,)),), 2**30) for at in range(2))
ROWS = {"tasks": 1, "samples": 5, "utilization": 3, "parameters": 1, "nodes": 1}


def measurement(number: int) -> Measurement:
    return make_measurement(
        batch_size=number + 1,
        samples=tuple(Sample("forward", i, 1, 1000 * i + number, 900 + i) for i in range(5)),
        readings=tuple(Reading(100 * i + number, "forward", 99.0, 10, 1) for i in range(3)),
        parameters=(ParameterError("w", (2, 3), 1.0, 1e-7),),
    )


def fill(results: str | Path) -> Store:
    """In each of two sweeps two files of every table."""
    store = Store(results)
    for sweep_id in (SWEEP, OTHER):
        with store.hold_sweep(sweep_id):
            placements = (Placement(measurement(at).task, 0, "n1") for at in range(2))
            store.begin(sweep_id, TEXT, Plan(tuple(placements)))
            store.put_nodes(sweep_id, NODES)
            for number in range(2):
                store.put(sweep_id, measurement(number))
    return store


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("filled") / "results"
    fill(found)
    return found


@pytest.fixture
def results(filled: Path, root: Path) -> Path:
    shutil.copytree(filled, root)
    return root


def files(results: Path, table: str, sweep_id: str = SWEEP) -> list[Path]:
    return sorted((results / table / f"sweep={sweep_id}").glob("*.parquet"))


def a_foreign_file(path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2]}), path)


def a_damaged_page(path: Path) -> None:
    """Its end is sound."""
    content = bytearray(path.read_bytes())
    end = len(content) - int.from_bytes(content[-8:-4], "little") - 8
    content[4:end] = bytes(end - 4)
    path.write_bytes(content)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def what_the_kernel_will_not_read(path: Path) -> None:
    path.unlink()
    path.symlink_to("/proc/self/mem")  # EIO at its beginning, whoever reads


def a_later_version(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    pq.write_table(table.replace_schema_metadata({VERSION_KEY: b"99"}), path)


def a_null_that_no_row_has(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    key = "node_id" if "task_id" not in table.schema.names else "task_id"
    column = pa.nulls(table.num_rows, pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index(key), key, column), path)


def another_sweeps(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    column = pa.array([OTHER] * table.num_rows)
    pq.write_table(table.set_column(0, "sweep_id", column), path)


def a_number_where_text_belongs(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    column = pa.array(range(table.num_rows))
    at = table.schema.get_field_index("sweep_id")
    pq.write_table(table.set_column(at, "sweep_id", column), path)


ILLS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-20]), "its end is missing"),
    "half": (lambda path: path.write_bytes(path.read_bytes()[:200]), "its end is missing"),
    "empty": (lambda path: path.write_bytes(b""), "its end is missing"),
    "text": (lambda path: path.write_text("not a Parquet file\n"), "its end is missing"),
    "foreign": (a_foreign_file, "it has no column sweep_id"),
    "damaged": (a_damaged_page, "it is damaged"),
    "folder": (a_folder, "it is a folder"),
    "pipe": (a_pipe, "it is not a regular file"),
    "dangling": (a_link_to_nothing, "it is a link to what is not there"),
    "loop": (a_link_to_itself, "cannot be read: Too many levels of symbolic links"),
    "unreadable": (what_the_kernel_will_not_read, ""),
    "later": (a_later_version, "its schema version is '99'"),
    "null": (a_null_that_no_row_has, "a row has no"),
    "elsewhere": (another_sweeps, f"its rows are of sweep {OTHER}"),
    "typed": (a_number_where_text_belongs, "its column sweep_id is of type int64"),
}


@pytest.mark.parametrize("ill", ILLS)
@pytest.mark.parametrize("table", TABLES)
class TestEveryTable:
    def test_what_is_sound_is_read_and_the_rest_is_named(
        self, results: Path, table: str, ill: str
    ) -> None:
        path = files(results, table)[0]
        ILLS[ill][0](path)
        reader = Store.for_reading(results)
        assert reader.read(table, SWEEP).num_rows == ROWS[table]
        assert reader.read(table).num_rows == 3 * ROWS[table]
        (fault,) = reader.faults
        assert (fault.path, fault.table, fault.sweep_id) == (str(path), table, SWEEP)
        assert fault.loses_rows
        assert ILLS[ill][1] in fault.problem
        assert fault.mend.endswith(".")

    def test_sql_sees_the_same_rows(self, results: Path, table: str, ill: str) -> None:
        path = files(results, table)[0]
        ILLS[ill][0](path)
        reader = Store.for_reading(results)
        seen = run_query(reader, f"SELECT * FROM {table} WHERE sweep_id = '{SWEEP}'")
        assert seen.num_rows == ROWS[table]
        assert [fault.path for fault in reader.faults] == [str(path)]


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_file_is_no_fault_and_whoever_writes_refuses_an_unsound_one(
    results: Path, table: str
) -> None:
    first, second = files(results, table)
    first.unlink()
    reader = Store.for_reading(results)
    assert reader.read(table, SWEEP).num_rows == ROWS[table]
    assert reader.faults == ()
    second.write_bytes(b"")
    store = Store(results)
    with pytest.raises(StoreError, match=f"{second}: .*, or its end is missing. Copy it again"):
        store.read(table, SWEEP)
    with pytest.raises(StoreError, match=str(second)):
        store.compact(SWEEP)
    assert second.exists()


class TestCommands:
    """Each ends with a status of its own, and says on the page that rows are missing."""

    @pytest.fixture
    def broken(self, results: Path) -> Path:
        path = files(results, "tasks")[0]
        path.write_bytes(path.read_bytes()[:-20])
        return path

    @pytest.mark.parametrize("form", [Form.TERMINAL, Form.MARKDOWN])
    def test_report(self, results: Path, broken: Path, form: Form, capsys) -> None:  # type: ignore[no-untyped-def]
        assert report(results, SWEEP, ReportKind.TIMES, form, None).status == INCOMPLETE
        said = capsys.readouterr()
        assert "ROWS ARE MISSING" in said.out
        assert f"left out: {broken}: " in said.err
        assert "velodrome results check" in said.err

    @pytest.mark.parametrize("form", [Form.CSV, Form.JSON])
    def test_report_for_a_program(self, results: Path, broken: Path, form: Form, capsys) -> None:  # type: ignore[no-untyped-def]
        assert report(results, SWEEP, ReportKind.TIMES, form, None).status == INCOMPLETE
        said = capsys.readouterr()
        assert "MISSING" not in said.out
        assert str(broken) in said.err

    def test_a_report_of_another_sweep_is_whole(self, results: Path, broken: Path, capsys) -> None:  # type: ignore[no-untyped-def]
        assert report(results, OTHER, ReportKind.TIMES, Form.TERMINAL, None).status == 0
        said = capsys.readouterr()
        assert "MISSING" not in said.out
        assert str(broken) in said.err  # its history would have used it

    def test_page(self, results: Path, broken: Path, tmp_path: Path) -> None:
        page = tmp_path / "page.html"
        assert write_page(results, SWEEP, page).status == INCOMPLETE
        assert f"ROWS ARE MISSING: a file could not be read: {broken}" in page.read_text()

    def test_compare(self, results: Path, broken: Path, capsys) -> None:  # type: ignore[no-untyped-def]
        outcome = compare(SWEEP, OTHER, str(results), form=Form.TERMINAL)
        assert compare_status(outcome, ()) == INCOMPLETE
        said = capsys.readouterr()
        assert "ROWS ARE MISSING" in said.out
        assert str(broken) in said.err

    def test_query(self, results: Path, broken: Path, capsys) -> None:  # type: ignore[no-untyped-def]
        assert query("SELECT count(*) AS n FROM tasks", results, Format.JSON, None) == INCOMPLETE
        said = capsys.readouterr()
        assert json.loads(said.out) == [{"n": 3}]
        assert str(broken) in said.err
        assert query("SELECT count(*) FROM samples", results, Format.CSV, None) == 0


class TestCheck:
    def told(self, results: Path) -> tuple[int, list[dict[str, object]]]:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = check_results(results, as_json=True)
        return status, json.loads(out.getvalue())

    def test_of_sound_results_nothing_is_said(self, results: Path, capsys) -> None:  # type: ignore[no-untyped-def]
        assert self.told(results) == (0, [])
        assert check_results(results, as_json=False) == 0
        assert "every file in" in capsys.readouterr().out

    def test_every_file_that_is_not_sound_is_listed_with_its_mend(self, results: Path) -> None:
        broken = {table: files(results, table)[0] for table in TABLES}
        a_damaged_page(broken["tasks"])
        for table in ("samples", "utilization", "nodes"):
            broken[table].write_bytes(b"")
        another_sweeps(broken["parameters"])
        plan = results / "_sweeps" / SWEEP / "plan.parquet"
        plan.write_bytes(b"")
        stray = results / "tasks" / "more.parquet"
        a_foreign_file(stray)
        nested = broken["samples"].parent / "older" / "x.parquet"
        nested.parent.mkdir()
        a_foreign_file(nested)
        status, told = self.told(results)
        assert status == INCOMPLETE
        wanted = {*map(str, broken.values()), str(plan), str(stray), str(nested)}
        assert {row["path"] for row in told} == wanted
        assert all(row["problem"] and row["mend"] for row in told)

    def test_a_sweeps_folder_that_is_a_file_is_named(self, results: Path) -> None:
        place = results / "samples" / "sweep=20261126-063012-a1b2c3d4"
        place.write_text("")
        _, told = self.told(results)
        assert [row["path"] for row in told] == [str(place)]


HIDDEN = ("._{0}", ".{0}", "_{0}", "._copy.parquet", "_temporary.parquet", "{0}.crc", ".DS_Store")


@pytest.mark.parametrize("table", TABLES)
def test_hidden_files_are_no_rows_in_a_folder_and_in_a_bucket(place, table: str) -> None:  # type: ignore[no-untyped-def]
    store = fill(place.results)
    (path, _) = (one for one in place.paths(table) if SWEEP in one)
    folder, name = path.rsplit("/", 1)
    for hidden in HIDDEN:
        place.write(f"{folder}/{hidden.format(name)}", place.read(path))
    reader = Store.for_reading(place.results)
    assert reader.read(table, SWEEP).num_rows == 2 * ROWS[table]
    assert run_query(reader, f"FROM {table}").num_rows == 4 * ROWS[table]
    assert reader.faults == ()
    store.compact(SWEEP)
    assert store.read(table, SWEEP).num_rows == 2 * ROWS[table]


SPOILT = {"truncated": -20, "half": 100, "empty": 0}


@pytest.mark.parametrize("ill", SPOILT)
@pytest.mark.parametrize("table", TABLES)
def test_in_a_bucket_what_is_sound_is_read_too(place, table: str, ill: str) -> None:  # type: ignore[no-untyped-def]
    fill(place.results)
    (path, _) = (one for one in place.paths(table) if SWEEP in one)
    place.write(path, place.read(path)[: SPOILT[ill]])
    reader = Store.for_reading(place.results)
    assert reader.read(table, SWEEP).num_rows == ROWS[table]
    assert run_query(reader, f"FROM {table}").num_rows == 3 * ROWS[table]
    assert [fault.path for fault in reader.faults] == [path]


def test_a_file_that_goes_between_its_listing_and_its_reading_is_looked_for_again() -> None:
    gone = fault_of_error("x.parquet", "tasks", SWEEP, FileNotFoundError())
    told: list[FileFault] = []
    looks = iter((gone, gone, None))

    def look(tell: Report) -> str:
        if fault := next(looks):
            tell(fault)
        return "rows"

    assert retry_if_vanished(look, told.append) == "rows"
    assert told == []
    assert retry_if_vanished(lambda tell: tell(gone), told.append) is None
    assert told == [gone]
    assert gone.problem == "it was listed, but is not there"


class TestCopies:
    @pytest.mark.parametrize("table", TABLES)
    def test_a_copy_is_named_and_its_rows_count_once(self, place, table: str) -> None:  # type: ignore[no-untyped-def]
        fill(place.results)
        (path, _) = (one for one in place.paths(table) if SWEEP in one)
        copied = path.replace(".parquet", " (copy).parquet")
        place.write(copied, place.read(path))
        reader = Store.for_reading(place.results)
        assert reader.read(table, SWEEP).num_rows == 2 * ROWS[table]
        assert run_query(reader, f"FROM {table}").num_rows == 4 * ROWS[table]
        (fault,) = reader.faults
        assert (fault.path, fault.kind) == (copied, FaultKind.COPY)
        assert not fault.loses_rows

    @pytest.mark.parametrize("table", TABLES)
    def test_of_a_file_of_which_some_rows_are_elsewhere_the_others_count(
        self, results: Path, table: str
    ) -> None:
        first, second = files(results, table)
        whole = pa.concat_tables([pq.ParquetFile(path).read() for path in (first, second)])
        second.unlink()
        pq.write_table(whole, first.with_name("zz-restored.parquet"))
        reader = Store.for_reading(results)
        assert reader.read(table, SWEEP).num_rows == 2 * ROWS[table]
        assert run_query(reader, f"FROM {table}").num_rows == 4 * ROWS[table]
        (fault,) = reader.faults
        assert f"{ROWS[table]} of its {2 * ROWS[table]} rows are in other files" in fault.problem

    def test_a_compaction_takes_each_row_once(self, results: Path) -> None:
        for table in TABLES:
            path = files(results, table)[0]
            path.with_name(f"x{path.name}").write_bytes(path.read_bytes())
        store = Store(results)
        store.compact(SWEEP)
        for table, count in ROWS.items():
            assert store.read(table, SWEEP).num_rows == 2 * count
        assert Store.for_reading(results).read("tasks").num_rows == 4

    def test_attempts_that_are_restored_beside_their_compacted_file_count_once(
        self, results: Path
    ) -> None:
        kept = {path: path.read_bytes() for table in TABLES for path in files(results, table)}
        Store(results).compact(SWEEP)
        for path, content in kept.items():
            path.write_bytes(content)
        reader = Store.for_reading(results)
        for table, count in ROWS.items():
            assert reader.read(table, SWEEP).num_rows == 2 * count
        assert {fault.path for fault in reader.faults} == set(map(str, kept))

    def test_a_sweep_under_another_name_is_left_out(self, results: Path) -> None:
        copied = results / "tasks" / "sweep=20261126-063012-a1b2c3d4"
        (results / "tasks" / f"sweep={SWEEP}").rename(copied)
        reader = Store.for_reading(results)
        assert reader.read("tasks").num_rows == 2
        assert all(fault.mend == f"Move it to sweep={SWEEP}." for fault in reader.faults)


def test_text_that_is_no_utf_8_is_found_by_whoever_asks_for_it(results: Path) -> None:
    path = files(results, "tasks")[0]
    table = pq.ParquetFile(path).read()
    column = pa.array([b"\xff"]).view(pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("reason"), "reason", column), path)
    for text in ("SELECT reason FROM tasks", "SELECT upper(reason) || 'x' AS r FROM tasks"):
        reader = Store.for_reading(results)
        assert run_query(reader, text).num_rows == 3
        assert [fault.path for fault in reader.faults] == [str(path)]


def test_a_query_that_is_wrong_is_still_the_users_fault(results: Path) -> None:
    files(results, "tasks")[0].write_bytes(b"")
    with pytest.raises(Exception, match=r"query:1:8: .*nothing") as caught:
        run_query(Store.for_reading(results), "SELECT nothing FROM tasks")
    assert getattr(caught.value, "exit_status", None) == 2
