"""Unsound result files are named and the sound ones are read."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unsound_results import FAULTS, ROWS, SWEEP, files, fill

from velodrome.scheduler.errors import StoreError
from velodrome.scheduler.results.deduplication import Report
from velodrome.scheduler.results.file_faults import FileFault, fault_of_error
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.store_reader import retry_if_vanished


@pytest.mark.parametrize("fault_name", FAULTS)
@pytest.mark.parametrize("table", TABLES)
class TestEveryTable:
    def test_sound_files_are_read_and_the_others_named(
        self, results: Path, table: str, fault_name: str
    ) -> None:
        path = files(results, table)[0]
        FAULTS[fault_name][0](path)
        reader = Store.for_reading(results)
        assert reader.read(table, SWEEP).num_rows == ROWS[table]
        assert reader.read(table).num_rows == 3 * ROWS[table]
        (fault,) = reader.faults
        assert (fault.path, fault.table, fault.sweep_id) == (str(path), table, SWEEP)
        assert fault.loses_rows
        assert FAULTS[fault_name][1] in fault.problem
        assert fault.mend.endswith(".")

    def test_sql_sees_the_same_rows(self, results: Path, table: str, fault_name: str) -> None:
        path = files(results, table)[0]
        FAULTS[fault_name][0](path)
        reader = Store.for_reading(results)
        seen = run_query(reader, f"SELECT * FROM {table} WHERE sweep_id = '{SWEEP}'")
        assert seen.num_rows == ROWS[table]
        assert [fault.path for fault in reader.faults] == [str(path)]


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_file_is_no_fault_and_writers_refuse_an_unsound_file(
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


HIDDEN = ("._{0}", ".{0}", "_{0}", "._copy.parquet", "_temporary.parquet", "{0}.crc", ".DS_Store")


@pytest.mark.full
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


@pytest.mark.full
@pytest.mark.parametrize("fault_name", SPOILT)
@pytest.mark.parametrize("table", TABLES)
def test_sound_files_in_a_bucket_are_read_too(place, table: str, fault_name: str) -> None:  # type: ignore[no-untyped-def]
    fill(place.results)
    (path, _) = (one for one in place.paths(table) if SWEEP in one)
    place.write(path, place.read(path)[: SPOILT[fault_name]])
    reader = Store.for_reading(place.results)
    assert reader.read(table, SWEEP).num_rows == ROWS[table]
    assert run_query(reader, f"FROM {table}").num_rows == 3 * ROWS[table]
    assert [fault.path for fault in reader.faults] == [path]


def test_a_file_that_vanishes_between_listing_and_reading_is_listed_again() -> None:
    gone = fault_of_error("x.parquet", "tasks", SWEEP, FileNotFoundError())
    faults: list[FileFault] = []
    looks = iter((gone, gone, None))

    def look(tell: Report) -> str:
        if fault := next(looks):
            tell(fault)
        return "rows"

    assert retry_if_vanished(look, faults.append) == "rows"
    assert faults == []
    assert retry_if_vanished(lambda tell: tell(gone), faults.append) is None
    assert faults == [gone]
    assert gone.problem == "it was listed, but is missing"


def test_text_that_is_not_utf8_is_detected_by_the_query_that_reads_it(results: Path) -> None:
    path = files(results, "tasks")[0]
    table = pq.ParquetFile(path).read()
    column = pa.array([b"\xff"]).view(pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("reason"), "reason", column), path)
    for text in ("SELECT reason FROM tasks", "SELECT upper(reason) || 'x' AS r FROM tasks"):
        reader = Store.for_reading(results)
        assert run_query(reader, text).num_rows == 3
        assert [fault.path for fault in reader.faults] == [str(path)]


def test_a_wrong_query_is_still_an_error_of_the_user(results: Path) -> None:
    files(results, "tasks")[0].write_bytes(b"")
    with pytest.raises(Exception, match=r"query:1:8: .*nothing") as caught:
        run_query(Store.for_reading(results), "SELECT nothing FROM tasks")
    assert getattr(caught.value, "exit_status", None) == 2
