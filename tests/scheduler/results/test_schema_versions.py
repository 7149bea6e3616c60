"""Files of every earlier version are read; one of a later version is refused."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from made_measurements import make_measurement

from velodrome.adapters.protocol import Checked, Figure
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.tables import build_table
from velodrome.scheduler.results.columns import VERSION, VERSION_KEY
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.schema_conversion import RENAMED, names_in_file
from velodrome.scheduler.results.schema_page import ROWS, page
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import task_rows

FIXTURES = Path(__file__).parent / "fixtures"
WRITTEN = sorted(path for path in FIXTURES.glob("v*/*") if path.is_dir())
KNOWN = " and ".join(str(number) for number in range(1, int(VERSION) + 1))
ROW_COUNTS = {"tasks": 1, "samples": 6, "utilization": 2, "nodes": 1, "parameters": 1}


def test_a_fixture_from_before_the_renaming_has_every_renamed_column() -> None:
    store = Store.for_reading(FIXTURES / "v1" / "before-renaming")
    for table, earlier in RENAMED.items():
        row = store.read(table).to_pylist()[0]
        assert [name for name in earlier if row[name] is None] == []


@pytest.mark.parametrize(
    "query",
    [
        "select {} from {}",
        "select t.{} from {} t",
        "select * exclude ({}) from {}",
        "from {1} where {0} is null",
    ],
)
@pytest.mark.parametrize("table", RENAMED)
def test_a_query_for_an_old_column_names_the_new_one(table: str, query: str) -> None:
    store = Store.for_reading(FIXTURES / "v1" / "before-renaming")
    for new, old in RENAMED[table].items():
        text = f"column {old} is called {new} since schema version 2. "
        with pytest.raises(ConfigError, match=f"^query[:0-9]*: {text}"):
            run_query(store, query.format(old, table))


def test_fixtures_exist_of_every_version() -> None:
    assert {path.parent.name for path in WRITTEN} == {
        f"v{number}" for number in range(1, int(VERSION) + 1)
    }


@pytest.mark.parametrize("written", WRITTEN, ids=lambda path: f"{path.parent.name}-{path.name}")
class TestEarlierVersions:
    def test_every_table_is_read_with_the_current_columns(self, written: Path) -> None:
        store = Store.for_reading(written)
        for table, count in ROW_COUNTS.items():
            rows = store.read(table)
            assert rows.num_rows == count
            assert rows.schema.names == TABLES[table].names
        (row,) = store.read("tasks").to_pylist()
        assert (row["status"], row["framework"], row["model"]) == ("ok", "torch", "lenet")
        assert (row["gradient_median_ns"], row["peak_rss_bytes"]) == (1e7, 2**28)
        assert row["verified"] is True

    def test_columns_unknown_to_old_files_are_null(self, written: Path) -> None:
        (path,) = written.glob("tasks/*/*.parquet")
        known = names_in_file("tasks", pq.read_schema(path).names)
        (row,) = Store.for_reading(written).read("tasks").to_pylist()
        assert [name for name in set(row) - set(known) if row[name] is not None] == []

    def test_a_renamed_column_is_read_under_its_current_name(self, written: Path) -> None:
        store = Store.for_reading(written)
        for table, earlier in RENAMED.items():
            (path,) = written.glob(f"{table}/*/*.parquet")
            as_written = pq.read_table(path).to_pylist()[0]
            row = store.read(table).to_pylist()[0]
            by_sql = run_query(store, f"SELECT * FROM {table}").to_pylist()[0]
            for name, before in earlier.items():
                known = as_written.get(name, as_written.get(before))
                assert (row[name], by_sql[name]) == (known, known), name

    def test_sql_reads_old_files_too(self, written: Path) -> None:
        store = Store.for_reading(written)
        query = (
            "select framework, median(elapsed_ns), any_value(canary_model) as canary "
            "from samples join tasks using (sweep_id, task_id, repeat) group by all"
        )
        (row,) = run_query(store, query).to_pylist()
        assert row == {"framework": "torch", "median(elapsed_ns)": 10_000_001.0, "canary": None}

    def test_a_report_says_which_rows_have_no_checks(self, written: Path, tmp_path: Path) -> None:
        kept_none = "1 of 1 cell with a time: measured by a version that recorded no checks"
        (table,) = [
            build_table(*each)
            for each in collect_cells(task_rows(Store.for_reading(written).read("tasks"))).items()
        ]
        (path,) = written.glob("tasks/*/*.parquet")
        lacks_checks = "checks" not in pq.read_schema(path).names
        assert any(remark.startswith(kept_none) for remark in table.remarks) is lacks_checks
        write_page(written, "", tmp_path / "page.html")
        assert (kept_none in (tmp_path / "page.html").read_text()) is lacks_checks

    def test_new_rows_are_stored_beside_old_files(self, written: Path, tmp_path: Path) -> None:
        root = tmp_path / "results"
        shutil.copytree(written, root)
        store = Store(root)
        (sweep_id,) = store.sweep_ids()
        (before,) = store.read("tasks").to_pylist()
        drained = Checked("drained", "forward", "passed", (Figure("excess_ns", 1.0),), "", 7)
        with store.hold_sweep(sweep_id):
            store.put(sweep_id, make_measurement(batch_size=8, checks=(drained,)))
            store.compact(sweep_id)
        found = {row["batch_size"]: row for row in store.read("tasks").to_pylist()}
        assert found.pop(8)["proved"] == ["drained"]
        (earlier,) = found.values()
        assert (earlier["proved"], earlier["checks"]) == (before["proved"], before["checks"])

    def test_a_sweep_of_old_files_can_be_continued(self, written: Path, tmp_path: Path) -> None:
        root = tmp_path / "results"
        for path in written.glob("*/*/*.parquet"):
            target = root / path.relative_to(written)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        store = Store(root)
        (sweep_id,) = store.sweep_ids()
        store.compact(sweep_id)
        (path,) = root.glob("tasks/*/*.parquet")
        assert pq.read_schema(path).names == TABLES["tasks"].names
        assert store.read("samples", sweep_id).num_rows == ROW_COUNTS["samples"]


def test_a_file_of_a_later_version_is_refused_with_its_number(root: Path, tmp_path: Path) -> None:
    folder = root / "tasks" / "sweep=20271124-063012-a1b2c3d4"
    folder.mkdir(parents=True)
    later = str(int(VERSION) + 1)
    empty = TABLES["tasks"].empty_table().replace_schema_metadata({VERSION_KEY: later.encode()})
    pq.write_table(empty, folder / "sweep.parquet")
    store = Store.for_reading(root)
    assert store.read("tasks").num_rows == run_query(store, "from tasks").num_rows == 0
    (fault,) = store.faults
    assert fault.problem == f"its schema version is '{later}', this Velodrome knows {KNOWN}"
    with pytest.raises(StoreError, match=f"its schema version is '{later}'"):
        Store(root).read("tasks")


class TestSchemaPage:
    def test_the_schema_page_is_up_to_date(self) -> None:
        kept = Path(__file__).parents[3] / "docs" / "schema.md"
        assert kept.read_text() == page(), "it is not up to date: make docs"

    def test_the_schema_page_has_every_table_and_column(self) -> None:
        assert list(ROWS) == list(TABLES)
        for table in TABLES.values():
            for field in table:
                assert f"| `{field.name}` |" in page()

    def test_a_comment_after_a_column_is_its_meaning(self) -> None:
        line = "| `verified` | bool |  | loss and gradients agree with the float64 reference |"
        assert line in page()
