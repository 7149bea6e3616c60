"""Every time is UTC and marked so, for every reader in every time zone."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_measurements import make_measurement

from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store

SWEEP, OTHER = "20261124-063012-a1b2c3d4", "20261125-063012-a1b2c3d4"
AT_S = 1_700_000_000.0
AT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
ASKED = "SELECT started_at, started_at::VARCHAR AS text, hour(started_at) AS hour FROM tasks"


@pytest.fixture
def results(store: Store, root: Path) -> Path:
    """Store a current sweep, and one whose file has times without a zone."""
    made = make_measurement(started_at=AT_S, finished_at=AT_S + 1)
    for sweep_id in (SWEEP, OTHER):
        store.put(sweep_id, made)
    (old,) = (root / "tasks" / f"sweep={OTHER}").glob("*.parquet")
    table = pq.ParquetFile(old).read()
    for name in ("started_at", "finished_at"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table[name].cast(pa.timestamp("us")))
    pq.write_table(table, old)
    return root


def test_every_time_column_has_its_zone_in_its_type() -> None:
    kinds = [str(field.type) for table in TABLES.values() for field in table]
    assert not [kind for kind in kinds if "timestamp" in kind and "tz=UTC" not in kind]
    assert kinds.count("timestamp[us, tz=UTC]") == 2


def test_new_and_old_rows_mean_the_same_instant(results: Path) -> None:
    store = Store(results)
    for _ in ("in progress", "compacted"):
        rows = store.read("tasks").to_pylist()
        assert [row["started_at"] for row in rows] == [AT, AT]
        assert run_query(store, ASKED)["text"].to_pylist() == ["2023-11-14 22:13:20+00"] * 2
        for sweep_id in (SWEEP, OTHER):
            store.compact(sweep_id)


def test_other_programs_see_the_zone(results: Path) -> None:
    Store(results).compact(OTHER)
    (path, _) = sorted((results / "tasks").rglob("*.parquet"))
    assert str(pd.read_parquet(path)["started_at"].dtype).endswith("UTC]")
    assert (
        str(duckdb.sql(f"FROM '{path}' SELECT started_at").types[0]) == "TIMESTAMP WITH TIME ZONE"
    )
    assert pq.read_schema(path).field("finished_at").type == pa.timestamp("us", "UTC")


@pytest.mark.slow
def test_the_machines_time_zone_changes_nothing(
    results: Path,
) -> None:
    command = [Path(sys.executable).parent / "velodrome", "query", ASKED, "--json"]
    variables = {**os.environ, "TZ": "America/New_York", "PYTHONTZPATH": ""}
    ended = subprocess.run(
        [*command, "--results", results], env=variables, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    one = {"started_at": str(AT), "text": "2023-11-14 22:13:20+00", "hour": 22}
    assert json.loads(ended.stdout) == [one, one]
