"""Sweeps of a results folder: starting, naming, opening and holding them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_measurements import make_measurement

from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Core, Node
from velodrome.agents.task import Task
from velodrome.scheduler.errors import ConfigError, SweepBusy
from velodrome.scheduler.plans.placement import Placement, Plan, Unplaceable
from velodrome.scheduler.results.store import Store, new_sweep_id
from velodrome.scheduler.results.uri import is_shared_place

SWEEP = "20261124-063012-a1b2"
OTHER = "20261125-063012-a1b2"
TEXT = "frameworks: [torch]\nmodels: [lenet]\n"
NODE = Node("n1", "host1", "CPU", (Core(0, (0,)),), 2**30)


def task(number: int) -> Task:
    return Task("torch", "eager", "lenet", number + 1)


def measurement(number: int, status: Status = Status.OK) -> Measurement:
    return make_measurement(task(number), status=status)


def plan(*numbers: int) -> Plan:
    placements = (Placement(task(number), repeat, "n1") for repeat in (0, 1) for number in numbers)
    return Plan(tuple(placements))


class TestBeginning:
    def test_the_text_and_the_plan_are_stored(self, store: Store, root: Path) -> None:
        store.begin(SWEEP, TEXT, plan(0, 1))
        again = Store.for_reading(root)
        assert again.sweep_text(SWEEP) == TEXT
        assert again.repeat_numbers(SWEEP) == {task(0).key: {"": 0}, task(1).key: {"": 0}}
        (summary,) = again.sweeps()
        assert (summary.sweep_id, summary.planned, summary.finished) == (SWEEP, 4, 0)

    def test_a_second_start_adds_new_placements_of_the_plan(self, store: Store) -> None:
        store.begin(SWEEP, TEXT, plan(0))
        elsewhere = Plan((Placement(task(0), 4, "n2", "n2"), Placement(task(0), 5, "n2", "n2")))
        store.begin(SWEEP, TEXT, elsewhere)
        store.begin(SWEEP, TEXT, plan(0))
        assert store.repeat_numbers(SWEEP) == {task(0).key: {"": 0, "n2": 4}}
        assert store.sweeps()[0].planned == 4

    def test_an_unplaceable_task_is_planned_too(self, store: Store) -> None:
        store.begin(SWEEP, TEXT, Plan((), (Unplaceable(task(0), "there is no node"),)))
        assert store.sweeps()[0].planned == 1
        assert store.repeat_numbers(SWEEP) == {}

    def test_another_text_is_refused(self, store: Store) -> None:
        store.begin(SWEEP, TEXT, plan(0))
        with pytest.raises(ConfigError, match="began with another sweep file"):
            store.begin(SWEEP, TEXT + "# changed\n", plan(0))

    def test_a_single_task_has_no_sweep_file(self, store: Store) -> None:
        store.put(SWEEP, measurement(0))
        with pytest.raises(ConfigError, match="this sweep has no sweep file"):
            store.sweep_text(SWEEP)
        assert store.repeat_numbers(SWEEP) == {}

    def test_a_node_is_stored_once(self, placed: Store) -> None:
        store = placed
        store.put_nodes(SWEEP, [NODE, NODE])
        store.put_nodes(SWEEP, [NODE])
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

    def test_sweeps_are_listed_newest_first_with_their_state(self, store: Store) -> None:
        store.begin(SWEEP, TEXT, plan(0, 1, 2))
        for number in range(3):
            store.put(SWEEP, measurement(number))
        store.begin(OTHER, TEXT, plan(0))
        store.put(OTHER, measurement(0, Status.CRASHED))
        found = [(s.sweep_id, s.planned, s.finished, s.with_number) for s in store.sweeps()]
        assert found == [(OTHER, 2, 1, 0), (SWEEP, 6, 3, 3)]

    @pytest.mark.parametrize(
        ("text", "sweep_id"), [("last", OTHER), (SWEEP, SWEEP), ("20261124", SWEEP)]
    )
    def test_a_sweep_is_named_by_its_id_a_prefix_or_last(
        self, store: Store, text: str, sweep_id: str
    ) -> None:
        store.begin(SWEEP, TEXT, plan(0))
        store.begin(OTHER, TEXT, plan(0))
        assert store.resolve(text) == sweep_id

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("20261124-063012-a1b3", "there is no sweep '20261124-063012-a1b3'. Did you mean"),
            ("2026", f"'2026' begins {OTHER}, {SWEEP}. Give more of the id."),
            ("", "there is no sweep ''"),
            ("../../etc", "there is no sweep '../../etc'"),
        ],
    )
    def test_an_ambiguous_or_unknown_sweep_is_reported(
        self, store: Store, text: str, message: str
    ) -> None:
        store.begin(SWEEP, TEXT, plan(0))
        store.begin(OTHER, TEXT, plan(0))
        with pytest.raises(ConfigError) as caught:
            store.resolve(text)
        assert message in str(caught.value)

    def test_a_folder_without_sweeps_says_how_to_make_one(self, store: Store) -> None:
        with pytest.raises(ConfigError, match="there is no sweep here"):
            store.resolve("last")


class TestOpening:
    """Everything that is wrong with a results folder is known before anything is started."""

    def read_error(self, results: str | Path) -> str:
        with pytest.raises(ConfigError) as caught:
            Store(results)
        assert caught.value.exit_status == 2
        return str(caught.value)

    def test_a_file_as_results_is_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.touch()
        assert self.read_error(path) == f"{path}: this is a file. Name a folder with --results."

    def test_a_path_through_a_file_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "a part of this path is a file" in self.read_error(tmp_path / "file" / "results")

    def test_an_unknown_kind_of_address_is_reported(self) -> None:
        assert "ftp:// is no place for results. Name a folder, s3://" in self.read_error(
            "ftp://host/x"
        )

    def test_a_bucket_without_a_name_is_reported(self) -> None:
        assert "it names no bucket" in self.read_error("s3://")

    def test_a_key_in_an_address_is_refused_and_not_shown(self) -> None:
        message = self.read_error("s3://AKIAKEY:s3cr3t@bucket/results")
        assert "a key does not belong into an address. Give it by the environment" in message
        assert "s3cr3t" not in message

    @pytest.mark.parametrize(
        ("results", "same"),
        [("s3://bucket/x", True), ("gs://bucket/x", True), ("/srv/x", True), ("results", False)],
    )
    def test_shared_places_mean_the_same_on_every_machine(
        self, results: str, *, same: bool
    ) -> None:
        assert is_shared_place(results) is same

    def test_a_file_address_is_a_path(self, tmp_path: Path) -> None:
        Store(f"file://{tmp_path}/results")
        assert (tmp_path / "results" / "_sweeps").is_dir()

    def test_a_path_that_is_too_long_is_reported(self, tmp_path: Path) -> None:
        assert "this path is too long" in self.read_error(tmp_path / ("x" * 300))

    @pytest.mark.parametrize("kind", ["Store", "Store.for_reading"])
    def test_a_folder_without_permissions_is_reported(self, tmp_path: Path, kind: str) -> None:
        code = (
            "import os, sys\n"
            "from velodrome.scheduler.results.store import Store\n"
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

    def test_reading_a_missing_folder_is_reported(self, root: Path) -> None:
        with pytest.raises(ConfigError, match="there is no such folder"):
            Store.for_reading(root)
        assert not root.exists()

    def test_reading_does_not_change_a_folder(self, tmp_path: Path) -> None:
        assert Store.for_reading(tmp_path).sweeps() == ()
        assert list(tmp_path.iterdir()) == []


class TestHolding:
    def test_two_stores_cannot_work_on_one_sweep(self, store: Store, root: Path) -> None:
        other = Store(root)
        with store.hold_sweep(SWEEP), pytest.raises(SweepBusy) as caught:
            other.put(SWEEP, measurement(0))
        assert "another process works on this sweep. Wait for it" in str(caught.value)
        assert caught.value.exit_status == 2
        assert other.put(SWEEP, measurement(0))

    def test_two_stores_can_work_on_different_sweeps(self, store: Store, root: Path) -> None:
        other = Store(root)
        with store.hold_sweep(SWEEP), other.hold_sweep(OTHER):
            assert store.put(SWEEP, measurement(0))
            assert other.put(OTHER, measurement(0))

    def test_holding_a_held_sweep_again_does_not_wait(self, store: Store) -> None:
        with store.hold_sweep(SWEEP), store.hold_sweep(SWEEP):
            assert store.put(SWEEP, measurement(0))

    def test_opening_a_store_does_not_touch_a_held_sweep(self, store: Store, root: Path) -> None:
        with store.hold_sweep(SWEEP):
            store.put(SWEEP, measurement(0))
            left = root / "_staging" / SWEEP / "half"
            left.touch()
            Store(root)
            assert left.exists()
        Store(root)
        assert not left.exists()
