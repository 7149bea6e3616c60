"""`velodrome query`: SQL over the rows, which reads them and can do nothing else."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from made_measurements import SAMPLES, make_measurement

from velodrome.agents.measurement import Measurement, Status
from velodrome.scheduler.commands.query import Format, parse_format, query
from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.results.rate_columns import RATE_NAMES
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store

SWEEP = "20261124-063012-a1b2"
OTHER = "20261125-063012-a1b2"


def measurement(number: int, **columns: object) -> Measurement:
    return make_measurement(batch_size=number + 1, **({"samples": SAMPLES} | columns))


@pytest.fixture
def filled(store: Store) -> Store:
    """Store a compacted sweep and an unfinished one."""
    for number in range(2):
        store.put(SWEEP, measurement(number))
    store.compact(SWEEP)
    store.put(OTHER, measurement(0))
    return store


class TestRows:
    def test_every_table_exists_even_without_rows(self, filled: Store) -> None:
        for table in TABLES:
            rows = run_query(filled, f"select * from {table}")
            computed = RATE_NAMES if table == "tasks" else ()
            assert rows.schema.names == [*TABLES[table].names, *computed]
        assert run_query(filled, "from nodes").num_rows == 0
        named = run_query(filled, "select table_name from information_schema.tables")
        assert set(named["table_name"].to_pylist()) == set(TABLES)

    def test_finished_and_unfinished_sweeps_are_read_together(self, filled: Store) -> None:
        with filled.hold_sweep(OTHER):
            filled.put(OTHER, measurement(1))
            query = "select sweep_id, count(*) as n, sum(elapsed_ns) as ns from samples group by 1"
            rows = run_query(filled, f"{query} order by 1").to_pylist()
        assert rows == [
            {"sweep_id": sweep_id, "n": 10, "ns": 2 * sum(range(900, 905))}
            for sweep_id in (SWEEP, OTHER)
        ]

    def test_tables_join(self, filled: Store) -> None:
        query = (
            "select batch_size, median(elapsed_ns) as ns from samples join tasks "
            "using (sweep_id, task_id, repeat) group by all order by all"
        )
        found = run_query(filled, query).to_pylist()
        assert found == [{"batch_size": 1, "ns": 902.0}, {"batch_size": 2, "ns": 902.0}]

    def test_a_bucket_is_queried_like_a_folder(self, place, placed: Store) -> None:  # type: ignore[no-untyped-def]
        placed.put(SWEEP, measurement(0))
        (row,) = run_query(
            Store.for_reading(place.results), "select sum(elapsed_ns) s from samples"
        )["s"].to_pylist()
        assert row == sum(range(900, 905))

    def test_a_broken_file_is_reported(self, filled: Store, root: Path) -> None:
        (path,) = (root / "samples" / f"sweep={OTHER}").iterdir()
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(
            StoreError, match=f"{path}: it is no Parquet file, or its end is missing"
        ):
            run_query(filled, "from samples")


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "place", "problem"),
        [
            ("select 1 form tasks", "query:1:15", "syntax error"),
            ("select\n  nothing\nfrom tasks", "query:2:3", '"nothing" not found'),
            ("from taskz", "query:1:6", 'Did you mean "tasks"'),
            ("select 'é', nothing from tasks", "query:1:13", '"nothing" not found'),
            ("select 'x", "query:1:8", "unterminated"),
            ("select x::int from (select 'x' as x)", "query:1:9", "Could not convert"),
            ("", "query", "it has 0 statements"),
            ("select 1; select 2", "query", "it has 2 statements"),
        ],
    )
    def test_an_error_names_its_place_in_the_query(
        self, filled: Store, text: str, place: str, problem: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            run_query(filled, text)
        assert caught.value.place == place
        assert problem in caught.value.problem
        assert caught.value.exit_status == 2

    @pytest.mark.parametrize(
        "text",
        [
            "copy tasks to '{here}/out.csv'",
            "attach '{here}/other.db'",
            "install httpfs",
            "create table mine as from tasks",
            "set enable_external_access = true",
            "select * from read_text('/etc/hostname')",
            "select * from '{here}/results/tasks/*/*.parquet'",
            "select * from read_parquet('{here}/results/tasks/*/*.parquet')",
            "select * from glob('{here}/*')",
            "select * from read_csv('https://example.org/x.csv')",
            "select * from filled",  # a variable of this process
        ],
    )
    def test_a_query_reaches_only_the_tables(
        self, filled: Store, tmp_path: Path, text: str
    ) -> None:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ConfigError):
            run_query(filled, text.format(here=tmp_path))
        assert sorted(tmp_path.rglob("*")) == before


class TestForms:
    TEXT = "select batch_size, status, 0.5 as half, null as none from tasks order by all limit 2"

    def shown(self, capsys: pytest.CaptureFixture[str], root: Path, form: str) -> str:
        assert query(self.TEXT, root, parse_format(form), None) == 0
        return capsys.readouterr().out

    def test_csv(self, filled: Store, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        lines = self.shown(capsys, root, "csv").splitlines()
        assert lines == ["batch_size,status,half,none", "1,ok,0.5,", "1,ok,0.5,"]

    def test_json(self, filled: Store, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rows = json.loads(self.shown(capsys, root, "json"))
        assert rows[0] == {"batch_size": 1, "status": "ok", "half": 0.5, "none": None}
        query("select 'nan'::double as x from tasks limit 1", root, Format.JSON, None)
        assert json.loads(capsys.readouterr().out) == [{"x": None}]
        query("from tasks where false", root, Format.JSON, None)
        assert json.loads(capsys.readouterr().out) == []

    def test_table(self, filled: Store, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        lines = self.shown(capsys, root, "").splitlines()
        assert lines[0].split() == ["batch_size", "status", "half", "none"]
        assert lines[-1] == "2 rows"

    def test_a_file_has_the_format_of_its_extension(
        self, filled: Store, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for ending in ("parquet", "csv", "json"):
            path = tmp_path / f"rows.{ending}"
            query(self.TEXT, root, None, path)
            assert f"wrote 2 rows to {path}" in " ".join(capsys.readouterr().out.split())
        assert pq.read_table(tmp_path / "rows.parquet")["status"].to_pylist() == ["ok", "ok"]
        assert (tmp_path / "rows.csv").read_text().count("\n") == 3
        assert len(json.loads((tmp_path / "rows.json").read_text())) == 2

    def test_impossible_output_is_reported(self, filled: Store, root: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="its extension names no format"):
            query(self.TEXT, root, None, tmp_path / "rows.xls")
        with pytest.raises(ConfigError, match="Parquet is not text"):
            query(self.TEXT, root, Format.PARQUET, None)
        with pytest.raises(ConfigError, match="there is no format 'xml'"):
            parse_format("xml")
        with pytest.raises(ConfigError, match="it cannot be written"):
            query(self.TEXT, root, None, tmp_path / "nowhere" / "rows.csv")


def test_foreign_text_is_shown_without_control_characters_and_formulas(
    store: Store, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put(SWEEP, measurement(0, status=Status.CRASHED, reason="\x1b]0;gone\x07=1+1[red]"))
    for form in (Format.TABLE, Format.JSON, Format.CSV):
        query('select reason, reason as "\x1b[31m" from tasks', root, form, None)
        assert "\x1b" not in capsys.readouterr().out
    query("select '=1+1' as \"=2\", '[red]' as b from tasks", root, Format.CSV, None)
    assert capsys.readouterr().out == "'=2,b\n'=1+1,[red]\n"
    query("select '[red]x[/red]' as b from tasks", root, Format.TABLE, None)
    assert "[red]x[/red]" in capsys.readouterr().out
