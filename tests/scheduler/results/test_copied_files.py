"""Copies of result files: they are named, and their rows count once."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unsound_results import ROWS, SWEEP, files, fill

from velodrome.scheduler.results.file_faults import FaultKind
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store


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
    def test_rows_of_a_partly_copied_file_count_once(self, results: Path, table: str) -> None:
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

    def test_attempts_restored_beside_their_compacted_file_count_once(self, results: Path) -> None:
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
