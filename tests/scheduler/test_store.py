"""A results folder: what is put in comes out whole and once, for us and for anybody else."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from velodrome.adapters.protocol import ParameterError
from velodrome.agents.measurement import Measurement, Reading, Sample, Status
from velodrome.agents.node import Core, Node
from velodrome.agents.task import Task
from velodrome.scheduler.errors import ConfigError, StoreError, SweepBusy
from velodrome.scheduler.planning import Placement, Plan, Unplaceable
from velodrome.scheduler.schema import TABLES, VERSION, VERSION_KEY
from velodrome.scheduler.store import Store, new_sweep_id

SWEEP = "20261124-063012-a1b2"
OTHER = "20261125-063012-a1b2"
TEXT = "frameworks: [torch]\nmodels: [lenet]\n"
NODE = Node("n1", "host1", "CPU", (Core(0, (0,)),), 2**30)


def task(number: int) -> Task:
    return Task("torch", "eager", "lenet", number + 1)


def measurement(
    number: int, *, repeat: int = 0, attempt: int = 1, status: Status = Status.OK
) -> Measurement:
    return Measurement(
        task=task(number),
        repeat=repeat,
        attempt=attempt,
        status=status,
        reason="",
        node_id="n1",
        hostname="host1",
        node_type="t1",
        started_at=1_700_000_000.0,
        finished_at=1_700_000_001.0,
        samples=tuple(Sample("forward", i, 1, 1000 * i, 900 + i) for i in range(5)),
        readings=tuple(Reading(100 * i, "forward", 99.0, 10, 1) for i in range(3)),
        parameters=(ParameterError("w", (2, 3), 1.0, 1e-7),),
    )


def plan(*numbers: int) -> Plan:
    placements = (Placement(task(number), repeat, "n1") for repeat in (0, 1) for number in numbers)
    return Plan(tuple(placements))


def files(root: Path, table: str) -> list[str]:
    return sorted(path.name for path in (root / table).rglob("*.parquet"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root)


def filled(store: Store, *, count: int = 3, sweep_id: str = SWEEP) -> list[Measurement]:
    put = [measurement(number) for number in range(count)]
    with store.working_on(sweep_id):
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
    def test_everybody_reads_every_row_of_every_table(
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

    def test_values_come_back_as_they_went_in(self, filled_root: Path) -> None:
        store = Store.for_reading(filled_root)
        rows = store.read("tasks", SWEEP).to_pylist()
        assert {row["task_id"] for row in rows} == {task(number).key for number in range(3)}
        samples = store.read("samples", OTHER).to_pylist()
        assert [row["elapsed_ns"] for row in samples] == [900, 901, 902, 903, 904]
        (parameter,) = store.read("parameters", OTHER).to_pylist()
        assert (parameter["name"], parameter["shape"]) == ("w", [2, 3])

    def test_every_file_says_its_version_and_is_packed_with_zstd(self, filled_root: Path) -> None:
        for path in filled_root.glob("*/sweep=*/*.parquet"):
            found = pq.ParquetFile(path)
            assert found.schema_arrow.metadata[VERSION_KEY] == VERSION.encode()
            assert found.metadata.row_group(0).column(0).compression == "ZSTD"

    def test_all_sweeps_are_read_where_none_is_named(self, filled_root: Path) -> None:
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


def test_a_file_that_is_broken_is_told(store: Store, root: Path) -> None:
    filled(store, count=1)
    (path,) = (root / "tasks").rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match="tasks cannot be read"):
        store.read("tasks")


def test_a_results_folder_is_its_owners_alone(root: Path) -> None:
    before = os.umask(0o022)
    try:
        Store(root)
    finally:
        os.umask(before)
    assert root.stat().st_mode & 0o777 == 0o700


class TestFinished:
    def test_a_task_counts_when_put_returns(self, store: Store) -> None:
        with store.working_on(SWEEP):
            assert store.put(SWEEP, measurement(0))
            assert store.finished(SWEEP) == {(task(0).key, 0)}
        assert store.finished(SWEEP) == {(task(0).key, 0)}

    @pytest.mark.parametrize("status", [status for status in Status if status is not Status.LOST])
    def test_every_outcome_but_lost_needs_no_further_attempt(
        self, store: Store, status: Status
    ) -> None:
        store.put(SWEEP, measurement(0, status=status))
        assert len(store.finished(SWEEP)) == 1

    def test_a_lost_attempt_is_a_row_and_is_tried_again(self, store: Store) -> None:
        store.put(SWEEP, measurement(0, status=Status.LOST))
        assert store.finished(SWEEP) == frozenset()
        assert store.next_attempt(SWEEP, task(0).key, 0) == 2
        store.put(SWEEP, measurement(0, attempt=2))
        assert store.finished(SWEEP) == {(task(0).key, 0)}
        assert store.read("tasks", SWEEP)["attempt"].to_pylist() == [1, 2]

    def test_what_is_finished_is_never_counted_twice(self, store: Store) -> None:
        assert store.put(SWEEP, measurement(0))
        assert not store.put(SWEEP, measurement(0, attempt=2, status=Status.CRASHED))
        assert store.read("tasks", SWEEP)["status"].to_pylist() == ["ok"]

    def test_it_holds_after_compaction_too(self, store: Store) -> None:
        filled(store)
        store.compact(SWEEP)
        assert len(store.finished(SWEEP)) == 3
        assert store.next_attempt(SWEEP, task(0).key, 0) == 2
        assert not store.put(SWEEP, measurement(0, attempt=2))

    def test_an_attempt_not_made_is_the_first(self, store: Store) -> None:
        assert store.next_attempt(SWEEP, task(9).key, 0) == 1


class TestOrphans:
    """Files of an attempt that was cut off before its row of `tasks` was in place."""

    @pytest.fixture
    def cut_off(self, store: Store, root: Path) -> str:
        filled(store, count=2)
        name = f"{task(1).key}-r0-a1.parquet"
        (root / "tasks" / f"sweep={SWEEP}" / name).unlink()
        return name

    def test_they_are_removed_and_nothing_else(
        self, store: Store, root: Path, cut_off: str
    ) -> None:
        assert store.drop_orphans(SWEEP) == 3
        kept = [f"{task(0).key}-r0-a1.parquet"]
        assert [files(root, table) for table in ("samples", "utilization")] == [kept, kept]
        assert store.drop_orphans(SWEEP) == 0

    def test_compaction_takes_none_of_them(self, store: Store, cut_off: str) -> None:
        store.compact(SWEEP)
        assert store.read("samples", SWEEP).num_rows == 5

    def test_the_same_attempt_done_again_takes_none_of_them(
        self, store: Store, root: Path, cut_off: str
    ) -> None:
        assert cut_off in files(root, "samples")
        store.put(SWEEP, replace(measurement(1, status=Status.CRASHED), samples=(), readings=()))
        assert cut_off not in files(root, "samples")
        assert store.read("samples", SWEEP).num_rows == 5

    def test_files_of_tasks_that_are_compacted_are_none(self, store: Store, root: Path) -> None:
        filled(store, count=2)
        merged = store.read("tasks", SWEEP)
        for path in (root / "tasks").rglob("*.parquet"):
            path.unlink()
        pq.write_table(merged, root / "tasks" / f"sweep={SWEEP}" / "sweep.parquet")
        assert store.drop_orphans(SWEEP) == 0
        store.compact(SWEEP)
        assert store.read("samples", SWEEP).num_rows == 10


class TestCompaction:
    def test_a_table_becomes_one_file(self, store: Store, root: Path) -> None:
        filled(store)
        before = store.read("samples", SWEEP)
        store.compact(SWEEP)
        assert [files(root, table) for table in TABLES] == [["sweep.parquet"]] * len(TABLES)
        assert store.read("samples", SWEEP).equals(before)

    def test_done_again_it_changes_no_file(self, store: Store, root: Path) -> None:
        filled(store)
        store.compact(SWEEP)
        before = {path: path.stat().st_ino for path in root.rglob("sweep.parquet")}
        store.compact(SWEEP)
        assert {path: path.stat().st_ino for path in root.rglob("sweep.parquet")} == before

    def test_what_comes_later_is_taken_in(self, store: Store, root: Path) -> None:
        filled(store)
        store.compact(SWEEP)
        store.put(SWEEP, measurement(7))
        assert len(files(root, "tasks")) == 2
        store.compact(SWEEP)
        assert files(root, "tasks") == ["sweep.parquet"]
        assert store.read("tasks", SWEEP).num_rows == 4
        assert store.read("samples", SWEEP).num_rows == 20

    def test_it_leaves_nothing_aside_once_the_store_is_opened_again(
        self, store: Store, root: Path
    ) -> None:
        filled(store)
        store.compact(SWEEP)
        Store(root)
        assert list((root / "_staging").iterdir()) == []

    def test_a_sweep_without_rows_is_left_alone(self, store: Store, root: Path) -> None:
        store.begin(SWEEP, TEXT, plan(0))
        store.compact(SWEEP)
        assert [files(root, table) for table in TABLES] == [[]] * len(TABLES)


class TestBeginning:
    def test_the_text_and_the_plan_are_kept(self, store: Store, root: Path) -> None:
        store.begin(SWEEP, TEXT, plan(0, 1))
        again = Store.for_reading(root)
        assert again.sweep_text(SWEEP) == TEXT
        assert again.numbers(SWEEP) == {task(0).key: {"": 0}, task(1).key: {"": 0}}
        (summary,) = again.sweeps()
        assert (summary.sweep_id, summary.planned, summary.finished) == (SWEEP, 4, 0)

    def test_begun_again_what_is_new_in_the_plan_is_added(self, store: Store) -> None:
        store.begin(SWEEP, TEXT, plan(0))
        elsewhere = Plan((Placement(task(0), 4, "n2", "n2"), Placement(task(0), 5, "n2", "n2")))
        store.begin(SWEEP, TEXT, elsewhere)
        store.begin(SWEEP, TEXT, plan(0))
        assert store.numbers(SWEEP) == {task(0).key: {"": 0, "n2": 4}}
        assert store.sweeps()[0].planned == 4

    def test_what_fits_nowhere_is_planned_too(self, store: Store) -> None:
        store.begin(SWEEP, TEXT, Plan((), (Unplaceable(task(0), "there is no node"),)))
        assert store.sweeps()[0].planned == 1
        assert store.numbers(SWEEP) == {}

    def test_another_text_is_refused(self, store: Store) -> None:
        store.begin(SWEEP, TEXT, plan(0))
        with pytest.raises(ConfigError, match="was begun with another sweep file"):
            store.begin(SWEEP, TEXT + "# changed\n", plan(0))

    def test_a_single_task_has_no_sweep_file(self, store: Store) -> None:
        store.put(SWEEP, measurement(0))
        with pytest.raises(ConfigError, match="was not begun from a sweep file"):
            store.sweep_text(SWEEP)
        assert store.numbers(SWEEP) == {}

    def test_a_node_is_kept_once(self, store: Store) -> None:
        store.put_nodes(SWEEP, [NODE, NODE])
        store.compact(SWEEP)
        store.put_nodes(SWEEP, [replace(NODE, hostname="renamed"), replace(NODE, node_id="n2")])
        rows = store.read("nodes", SWEEP).to_pylist()
        assert sorted((row["node_id"], row["hostname"]) for row in rows) == [
            ("n1", "host1"),
            ("n2", "host1"),
        ]


class TestNames:
    def test_ids_sort_by_time_and_differ(self) -> None:
        ids = [new_sweep_id() for _ in range(20)]
        assert len(set(ids)) == 20
        assert [one[:15] for one in ids] == sorted(one[:15] for one in ids)

    def test_sweeps_are_listed_newest_first_with_what_became_of_them(self, store: Store) -> None:
        filled(store)
        store.begin(OTHER, TEXT, plan(0))
        store.put(OTHER, measurement(0, status=Status.CRASHED))
        found = [(s.sweep_id, s.planned, s.finished, s.with_number) for s in store.sweeps()]
        assert found == [(OTHER, 2, 1, 0), (SWEEP, 6, 3, 3)]

    @pytest.mark.parametrize(
        ("text", "sweep_id"), [("last", OTHER), (SWEEP, SWEEP), ("20261124", SWEEP)]
    )
    def test_a_sweep_is_named_by_its_id_its_beginning_or_as_the_last(
        self, store: Store, text: str, sweep_id: str
    ) -> None:
        store.begin(SWEEP, TEXT, plan(0))
        store.begin(OTHER, TEXT, plan(0))
        assert store.resolve(text) == sweep_id

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("20261124-063012-a1b3", "there is no sweep '20261124-063012-a1b3'. Did you mean"),
            ("2026", f"'2026' begins {OTHER}, {SWEEP}. Give more of the id."),
            ("", "there is no sweep ''"),
            ("../../etc", "there is no sweep '../../etc'"),
        ],
    )
    def test_what_is_no_one_sweep_is_told(self, store: Store, text: str, said: str) -> None:
        store.begin(SWEEP, TEXT, plan(0))
        store.begin(OTHER, TEXT, plan(0))
        with pytest.raises(ConfigError) as caught:
            store.resolve(text)
        assert said in str(caught.value)

    def test_a_folder_without_sweeps_says_how_to_make_one(self, store: Store) -> None:
        with pytest.raises(ConfigError, match="there is no sweep here"):
            store.resolve("last")


class TestOpening:
    """Everything that is wrong with a results folder is known before anything is started."""

    def said(self, results: str | Path) -> str:
        with pytest.raises(ConfigError) as caught:
            Store(results)
        assert caught.value.exit_status == 2
        return str(caught.value)

    def test_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.touch()
        assert self.said(path) == f"{path}: this is a file. Name a folder with --results."

    def test_a_path_through_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "a part of this path is a file" in self.said(tmp_path / "file" / "results")

    @pytest.mark.parametrize("scheme", ["s3", "gs", "S3"])
    def test_an_object_store(self, tmp_path: Path, scheme: str) -> None:
        for results in (f"{scheme}://bucket/results", Path(f"{scheme}://bucket/results")):
            said = self.said(results)
            assert f"object stores ({scheme}://) are not supported yet" in said

    def test_a_file_address_is_a_path(self, tmp_path: Path) -> None:
        Store(f"file://{tmp_path}/results")
        assert (tmp_path / "results" / "_sweeps").is_dir()

    def test_a_path_that_is_too_long(self, tmp_path: Path) -> None:
        assert "this path is too long" in self.said(tmp_path / ("x" * 300))

    @pytest.mark.parametrize("kind", ["Store", "Store.for_reading"])
    def test_a_folder_without_rights(self, tmp_path: Path, kind: str) -> None:
        code = (
            "import os, sys\n"
            "from velodrome.scheduler.store import Store\n"
            "from velodrome.scheduler.errors import ConfigError\n"
            "os.umask(0); os.chmod(sys.argv[1], 0)\n"
            "if os.getuid() == 0: os.setuid(65534)\n"
            f"try: {kind}(sys.argv[1])\n"
            "except ConfigError as error: print(error, error.exit_status)\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "there are no rights to" in done.stdout, done.stderr
        assert done.stdout.rstrip().endswith(" 2")

    def test_to_read_where_nothing_is(self, root: Path) -> None:
        with pytest.raises(ConfigError, match="there is no such folder"):
            Store.for_reading(root)
        assert not root.exists()

    def test_to_read_leaves_a_folder_as_it_is(self, tmp_path: Path) -> None:
        assert Store.for_reading(tmp_path).sweeps() == ()
        assert list(tmp_path.iterdir()) == []


class TestHolding:
    def test_two_stores_cannot_work_on_one_sweep(self, store: Store, root: Path) -> None:
        other = Store(root)
        with store.working_on(SWEEP), pytest.raises(SweepBusy) as caught:
            other.put(SWEEP, measurement(0))
        assert "another process works on this sweep. Wait for it" in str(caught.value)
        assert caught.value.exit_status == 2
        assert other.put(SWEEP, measurement(0))

    def test_they_can_work_on_different_sweeps(self, store: Store, root: Path) -> None:
        other = Store(root)
        with store.working_on(SWEEP), other.working_on(OTHER):
            assert store.put(SWEEP, measurement(0))
            assert other.put(OTHER, measurement(0))

    def test_holding_what_is_held_is_no_wait(self, store: Store) -> None:
        with store.working_on(SWEEP), store.working_on(SWEEP):
            assert store.put(SWEEP, measurement(0))

    def test_opening_a_store_leaves_a_sweep_alone_that_is_at_work(
        self, store: Store, root: Path
    ) -> None:
        with store.working_on(SWEEP):
            store.put(SWEEP, measurement(0))
            left = root / "_staging" / SWEEP / "half"
            left.touch()
            Store(root)
            assert left.exists()
        Store(root)
        assert not left.exists()


@pytest.mark.slow
def test_a_sample_takes_at_most_eight_bytes_and_is_found_fast(store: Store, root: Path) -> None:
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
