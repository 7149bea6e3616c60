"""A results folder: every stored row is read back once, by the store and by other programs."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from made_measurements import SAMPLES, make_measurement

from velodrome.adapters.protocol import Checked, Figure, ParameterError
from velodrome.agents.measurement import Measurement, Reading, Sample, Status
from velodrome.agents.node import Core, Node
from velodrome.agents.task import Task
from velodrome.scheduler.errors import StoreError
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE
from velodrome.scheduler.plans.placement import Placement, Plan
from velodrome.scheduler.results.columns import VERSION, VERSION_KEY
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store

Place = Any  # see conftest.py

SWEEP = "20261124-063012-a1b2"
OTHER = "20261125-063012-a1b2"
TEXT = "frameworks: [torch]\nmodels: [lenet]\n"
NODE = Node("n1", "host1", "CPU", (Core(0, (0,)),), 2**30)


def task(number: int) -> Task:
    return Task("torch", "eager", "lenet", number + 1)


def measurement(number: int, **columns: object) -> Measurement:
    return make_measurement(
        task(number),
        samples=SAMPLES,
        readings=tuple(Reading(100 * i, "forward", 99.0, 10, 1) for i in range(3)),
        parameters=(ParameterError("w", (2, 3), 1.0, 1e-7),),
        **columns,
    )


def plan(*numbers: int) -> Plan:
    placements = (Placement(task(number), repeat, "n1") for repeat in (0, 1) for number in numbers)
    return Plan(tuple(placements))


def filled(store: Store, *, count: int = 3, sweep_id: str = SWEEP) -> list[Measurement]:
    put = [measurement(number) for number in range(count)]
    with store.hold_sweep(sweep_id):
        store.begin(sweep_id, TEXT, plan(*range(count)))
        store.put_nodes(sweep_id, [NODE])
        for one in put:
            store.put(sweep_id, one)
    return put


class TestRoundTrip:
    @pytest.fixture(params=["in progress", "compacted"])
    def filled_root(self, request: pytest.FixtureRequest, store: Store, root: Path) -> Path:
        filled(store)
        filled(store, count=1, sweep_id=OTHER)
        if request.param == "compacted":
            store.compact(SWEEP)
        return root

    @pytest.mark.parametrize(
        ("table", "rows"),
        [("tasks", 4), ("samples", 20), ("utilization", 12), ("parameters", 4), ("nodes", 2)],
    )
    def test_pyarrow_pandas_and_duckdb_read_every_row_of_every_table(
        self, filled_root: Path, table: str, rows: int
    ) -> None:
        folder = filled_root / table
        arrow = ds.dataset(str(folder), partitioning="hive")
        assert arrow.count_rows() == rows
        assert set(arrow.schema.names) == {*TABLES[table].names, "sweep"}
        frame = pd.read_parquet(folder)
        assert len(frame) == rows
        assert set(frame["sweep"]) == set(frame["sweep_id"]) == {SWEEP, OTHER}
        query = f"from read_parquet('{folder}/*/*.parquet', hive_partitioning=true)"
        found = duckdb.sql(f"select sweep, count(*) {query} group by all order by all").fetchall()
        assert [name for name, _ in found] == [SWEEP, OTHER]
        assert sum(count for _, count in found) == rows
        assert len(duckdb.sql(f"select * {query}").fetchall()) == rows

    def test_values_are_read_as_they_were_written(self, filled_root: Path) -> None:
        store = Store.for_reading(filled_root)
        rows = store.read("tasks", SWEEP).to_pylist()
        assert {row["task_id"] for row in rows} == {task(number).key for number in range(3)}
        samples = store.read("samples", OTHER).to_pylist()
        assert [row["elapsed_ns"] for row in samples] == [900, 901, 902, 903, 904]
        (parameter,) = store.read("parameters", OTHER).to_pylist()
        assert (parameter["name"], parameter["shape"]) == ("w", [2, 3])

    def test_every_file_has_its_version_and_is_compressed_with_zstd(
        self, filled_root: Path
    ) -> None:
        for path in filled_root.glob("*/sweep=*/*.parquet"):
            found = pq.ParquetFile(path)
            assert found.schema_arrow.metadata[VERSION_KEY] == VERSION.encode()
            assert found.metadata.row_group(0).column(0).compression == "ZSTD"

    def test_all_sweeps_are_read_if_none_is_named(self, filled_root: Path) -> None:
        assert Store.for_reading(filled_root).read("tasks").num_rows == 4


def test_a_table_without_rows_is_empty_and_has_its_columns(store: Store) -> None:
    assert store.read("samples", SWEEP).schema.names == TABLES["samples"].names
    assert store.read("samples").num_rows == 0


def test_a_file_with_fewer_columns_is_read_with_nulls(store: Store, root: Path) -> None:
    filled(store, count=1)
    (path,) = (root / "tasks").rglob("*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["notes"]), path)
    (row,) = store.read("tasks", SWEEP).to_pylist()
    assert (row["task_id"], row["notes"]) == (task(0).key, None)


def test_a_broken_file_is_reported(store: Store, root: Path) -> None:
    filled(store, count=1)
    (path,) = (root / "tasks").rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=f"{path}: it is no Parquet file, or its end is missing"):
        store.read("tasks")


def test_a_results_folder_belongs_to_its_owner_only(root: Path) -> None:
    before = os.umask(0o022)
    try:
        Store(root)
    finally:
        os.umask(before)
    assert root.stat().st_mode & 0o777 == 0o700


class TestFinished:
    def test_a_task_counts_when_put_returns(self, placed: Store) -> None:
        with placed.hold_sweep(SWEEP):
            assert placed.put(SWEEP, measurement(0))
            assert placed.finished(SWEEP) == {(task(0).key, 0)}
        assert placed.finished(SWEEP) == {(task(0).key, 0)}

    @pytest.mark.parametrize("status", Status)
    def test_only_failures_of_the_fleet_or_a_node_are_tried_again(
        self, store: Store, status: Status
    ) -> None:
        lacked = {Status.LOST, Status.ENVIRONMENT_FAILED, Status.UNPLACEABLE}
        store.put(SWEEP, measurement(0, status=status))
        assert store.finished(SWEEP) == (frozenset() if status in lacked else {(task(0).key, 0)})
        assert store.put(SWEEP, measurement(0, attempt=2)) == (status in lacked)
        assert store.finished(SWEEP) == {(task(0).key, 0)}

    @pytest.mark.parametrize("status", Status)
    def test_an_attempt_stored_twice_is_one_row(self, placed: Store, status: Status) -> None:
        group = [(measurement(number, status=status), TO_AGREE) for number in range(2)]
        with placed.hold_sweep(SWEEP):
            placed.put_all(SWEEP, group)
            assert not placed.put(SWEEP, measurement(0, status=status))
        assert not placed.put(SWEEP, measurement(1, status=status))
        assert placed.read("tasks", SWEEP).num_rows == 2

    def test_a_lost_attempt_is_a_row_and_is_tried_again(self, placed: Store) -> None:
        with placed.hold_sweep(SWEEP):
            placed.put(SWEEP, measurement(0, status=Status.LOST))
            assert placed.finished(SWEEP) == frozenset()
            assert placed.next_attempt(SWEEP, task(0).key, 0) == 2
            placed.put(SWEEP, measurement(0, attempt=2))
        assert placed.finished(SWEEP) == {(task(0).key, 0)}
        assert placed.read("tasks", SWEEP)["attempt"].to_pylist() == [1, 2]

    def test_a_finished_run_is_never_counted_twice(self, placed: Store) -> None:
        assert placed.put(SWEEP, measurement(0))
        assert not placed.put(SWEEP, measurement(0, attempt=2, status=Status.CRASHED))
        assert placed.read("tasks", SWEEP)["status"].to_pylist() == ["ok"]

    def test_finished_runs_stay_finished_after_compaction(self, placed: Store) -> None:
        filled(placed)
        placed.compact(SWEEP)
        assert len(placed.finished(SWEEP)) == 3
        assert placed.next_attempt(SWEEP, task(0).key, 0) == 2
        assert not placed.put(SWEEP, measurement(0, attempt=2))

    def test_the_next_attempt_of_an_unknown_task_is_the_first(self, store: Store) -> None:
        assert store.next_attempt(SWEEP, task(9).key, 0) == 1


class TestKeptTogether:
    def test_a_group_is_one_file_of_each_table(self, place: Place, placed: Store) -> None:
        group = [(measurement(number), TO_AGREE) for number in range(3)]
        assert placed.put_all(SWEEP, group) == 3
        (name,) = place.names("tasks")
        assert name.startswith("group-")
        for table in ("samples", "utilization", "parameters"):
            assert place.names(table) == [name]
        assert placed.finished(SWEEP) == {(task(number).key, 0) for number in range(3)}
        assert placed.read("samples", SWEEP).num_rows == 15

    def test_only_new_attempts_of_a_group_are_stored(self, store: Store) -> None:
        store.put(SWEEP, measurement(0))
        twice = [measurement(1), measurement(0), measurement(1, attempt=2)]
        assert store.put_all(SWEEP, [(one, TO_AGREE) for one in twice]) == 1
        assert store.put_all(SWEEP, [(one, TO_AGREE) for one in twice]) == 0
        assert store.read("tasks", SWEEP).num_rows == 2

    def test_a_lost_attempt_and_its_next_one_are_both_rows(self, store: Store) -> None:
        both = [measurement(0, status=Status.LOST), measurement(0, attempt=2)]
        assert store.put_all(SWEEP, [(one, TO_AGREE) for one in both]) == 2
        assert store.read("tasks", SWEEP)["attempt"].to_pylist() == [1, 2]

    def test_each_row_of_a_group_is_compared_with_its_expectation(self, store: Store) -> None:
        crashed = measurement(1, status=Status.CRASHED)
        store.put_all(SWEEP, [(measurement(0), TO_AGREE), (crashed, TO_AGREE)])
        assert store.read("tasks", SWEEP)["unexpected"].to_pylist() == [False, True]


class TestOrphans:
    """Files of an attempt that was cut off before its row of `tasks` was in place."""

    @pytest.fixture
    def cut_off(self, place: Place, placed: Store) -> str:
        filled(placed, count=2)
        (path,) = [path for path in place.paths("tasks") if task(1).key in path]
        place.filesystem.delete_file(path)
        return Path(path).name

    def test_only_orphaned_files_are_removed(
        self, place: Place, placed: Store, cut_off: str
    ) -> None:
        assert placed.drop_orphans(SWEEP) == 3
        kept = [f"{task(0).key}-r0-a1.parquet"]
        assert [place.names(table) for table in ("samples", "utilization")] == [kept, kept]
        assert placed.drop_orphans(SWEEP) == 0

    def test_compaction_ignores_orphaned_files(self, placed: Store, cut_off: str) -> None:
        placed.compact(SWEEP)
        assert placed.read("samples", SWEEP).num_rows == 5

    def test_the_repeated_attempt_ignores_orphaned_files(
        self, place: Place, placed: Store, cut_off: str
    ) -> None:
        assert cut_off in place.names("samples")
        placed.put(SWEEP, replace(measurement(1, status=Status.CRASHED), samples=(), readings=()))
        assert cut_off not in place.names("samples")
        assert placed.read("samples", SWEEP).num_rows == 5

    def test_a_group_with_the_repeated_attempt_ignores_orphaned_files(
        self, place: Place, placed: Store, cut_off: str
    ) -> None:
        placed.put_all(SWEEP, [(measurement(1), TO_AGREE), (measurement(2), TO_AGREE)])
        assert cut_off not in place.names("samples")
        assert placed.read("samples", SWEEP).num_rows == 15

    def test_files_of_compacted_tasks_are_not_orphans(self, store: Store, root: Path) -> None:
        filled(store, count=2)
        merged = store.read("tasks", SWEEP)
        for path in (root / "tasks").rglob("*.parquet"):
            path.unlink()
        pq.write_table(merged, root / "tasks" / f"sweep={SWEEP}" / "sweep.parquet")
        assert store.drop_orphans(SWEEP) == 0
        store.compact(SWEEP)
        assert store.read("samples", SWEEP).num_rows == 10


CHECKS = (
    Checked("drained", "forward", "passed", (Figure("excess_ns", 12.5),), "", 7),
    Checked("twice_the_work", "forward", "cannot_tell", (), "it is noisy", 8),
)


class TestChecks:
    def test_checks_survive_a_folder_a_bucket_and_compaction(self, placed: Store) -> None:
        with placed.hold_sweep(SWEEP):
            placed.put(SWEEP, replace(measurement(0), checks=CHECKS))
            placed.put(SWEEP, measurement(1))
        before = placed.read("tasks", SWEEP)
        placed.compact(SWEEP)
        after = placed.read("tasks", SWEEP)
        assert after.equals(before)
        checked, unchecked = after.to_pylist()
        assert (checked["proved"], unchecked["proved"]) == (["drained"], [])
        assert checked["unproved"] == ["twice_the_work forward: cannot_tell: it is noisy"]
        assert checked["checks"][0]["figures"] == [{"name": "excess_ns", "value": 12.5}]
        query = "select c.name from (select unnest(checks) as c from tasks)"
        assert run_query(placed, query).num_rows == 2


class TestCompaction:
    def test_a_table_becomes_one_file(self, place: Place, placed: Store) -> None:
        filled(placed)
        before = placed.read("samples", SWEEP)
        placed.compact(SWEEP)
        for table in TABLES:
            (name,) = place.names(table)
            assert name.startswith("sweep")
        assert placed.read("samples", SWEEP).equals(before)

    def test_a_second_compaction_changes_no_file(self, place: Place, placed: Store) -> None:
        filled(placed)
        placed.compact(SWEEP)
        before = [place.filesystem.get_file_info(place.paths(table)) for table in TABLES]
        placed.compact(SWEEP)
        after = [place.filesystem.get_file_info(place.paths(table)) for table in TABLES]
        assert [[info.mtime for info in one] for one in before] == [
            [info.mtime for info in one] for one in after
        ]

    def test_later_rows_are_compacted_too(self, place: Place, placed: Store) -> None:
        filled(placed)
        placed.compact(SWEEP)
        placed.put(SWEEP, replace(measurement(7), samples=()))
        assert len(place.names("tasks")) == 2
        placed.compact(SWEEP)
        assert len(place.names("tasks")) == 1
        placed.put(SWEEP, measurement(8))  # while samples are compacted once, tasks twice
        assert placed.read("tasks", SWEEP).num_rows == 5
        assert placed.read("samples", SWEEP).num_rows == 20

    def test_compaction_leaves_no_staging_file_after_reopening(
        self, store: Store, root: Path
    ) -> None:
        filled(store)
        store.compact(SWEEP)
        Store(root)
        assert list((root / "_staging").iterdir()) == []

    def test_a_sweep_without_rows_is_not_compacted(self, place: Place, placed: Store) -> None:
        placed.begin(SWEEP, TEXT, plan(0))
        placed.compact(SWEEP)
        assert [place.names(table) for table in TABLES] == [[]] * len(TABLES)


@pytest.mark.slow
def test_a_sample_takes_eight_bytes_at_most_and_is_read_fast(store: Store, root: Path) -> None:
    count, at_ns, samples = 200_000, 10**15, []
    for index in range(count):  # lengths that differ by a percent, as real ones do
        elapsed_ns = 3_000_000 + (index * 7919) % 60_013
        samples.append(Sample("gradient", index, 1, at_ns, elapsed_ns))
        at_ns += elapsed_ns + 1000 + (index * 104_729) % 1999
    store.put(SWEEP, replace(measurement(0), samples=tuple(samples)))
    store.compact(SWEEP)
    (path,) = (root / "samples").rglob("*.parquet")
    assert path.stat().st_size / count <= 8
    query = f"select count(*), median(elapsed_ns) from '{path}'"
    assert duckdb.sql(query).fetchall()[0][0] == count
