"""A store under faults: a killed writer, a full disk, concurrent readers.

The killed writer is a real child. It dies either at its n-th file system operation,
for every n there is, or at some instant while it writes as fast as it can.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from made_measurements import make_measurement

from velodrome.agents.measurement import Measurement, Sample
from velodrome.agents.task import Task
from velodrome.scheduler.errors import StoreFull
from velodrome.scheduler.plans.placement import Placement, Plan
from velodrome.scheduler.results.store import Store

SWEEP = "20261124-063012-a1b2"
TEXT = "frameworks: [torch]\nmodels: [lenet]\n"
COUNT = 4  # tasks in a sweep before something is killed
SAMPLES = 6

# What a child needs to write; `kill_at` makes it die at its n-th use of the file system.
WRITER = f"""
import os, shutil, signal, sys
from velodrome.agents.measurement import Measurement, Sample, Status
from velodrome.agents.task import Task
from velodrome.scheduler.results import atomic_swap, compaction
from velodrome.scheduler.plans.placement import Placement, Plan
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.layout import Layout

SWEEP, TEXT = {SWEEP!r}, {TEXT!r}
DEADLY = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")

def measurement(number):
    samples = tuple(Sample("forward", i, 1, 1000 * i, 900 + i) for i in range({SAMPLES}))
    task = Task("torch", "eager", "lenet", number + 1)
    return Measurement(task, 0, 1, Status.OK, "", "n1", "h", "t", 0.0, 1.0, samples=samples)

def kill_at(count, root):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event in DEADLY and root in str(arguments) or event in ("fcntl.flock", "ctypes.dlsym"):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
"""
KILLED = (
    WRITER
    + """
from pathlib import Path
import pandas, pyarrow.compute  # pyarrow does so at its first use; not in every child

def put(root):
    Store(root).put(SWEEP, measurement({count}))

def compact(root):
    Store(root).compact(SWEEP)

def compact_in_two_steps(root):
    store = Store(root)
    with store.hold_sweep(SWEEP):
        compaction.compact(Layout(Path(root)), SWEEP, atomic_swap.swap_in_two_steps)

def begin(root):
    plan = Plan((Placement(measurement(0).task, 0, "n1"),))
    Store(root).begin("20261125-000000-ffff", TEXT, plan)

template, target, work = sys.argv[1], sys.argv[2], globals()[sys.argv[3]]
count = 0
while True:
    count += 1
    root = f"{{target}}/{{count:03d}}"
    shutil.copytree(template, root)
    child = os.fork()
    if child == 0:
        kill_at(count, root)
        work(root)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):  # it did all of it before its turn to die came
        sys.exit(os.WEXITSTATUS(status))
""".format(count=COUNT)
)


def task(number: int) -> Task:
    return Task("torch", "eager", "lenet", number + 1)


def measurement(number: int, samples: int = SAMPLES) -> Measurement:
    drawn = random.Random(number)
    timed = tuple(
        Sample("forward", i, 1, drawn.getrandbits(60), drawn.getrandbits(60))
        for i in range(samples)
    )
    return make_measurement(task(number), samples=timed)


def plan(count: int) -> Plan:
    return Plan(tuple(Placement(task(number), 0, "n1") for number in range(count)))


def keys(count: int) -> list[str]:
    return sorted(task(number).key for number in range(count))


def seen_by_others(root: Path, table: str) -> list[str]:
    """The task of every row that is there for a reader who knows nothing of us."""
    folder = root / table
    if not folder.is_dir() or not list(folder.rglob("*.parquet")):
        return []
    rows = ds.dataset(str(folder), partitioning="hive").to_table(columns=["task_id"])
    return sorted(rows["task_id"].to_pylist())


def fill(root: Path, count: int = COUNT) -> Path:
    store = Store(root)
    with store.hold_sweep(SWEEP):
        store.begin(SWEEP, TEXT, plan(count))
        for number in range(count):
            store.put(SWEEP, measurement(number))
    return root


def kill_everywhere(template: Path, target: Path, work: str) -> list[Path]:
    """A copy of the template per instant at which the child was killed, the last one finished."""
    target.mkdir()
    command = [sys.executable, "-c", KILLED, str(template), str(target), work]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(target.iterdir())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("template") / "results")


@pytest.mark.slow
class TestKilledAtEveryStep:
    def test_a_put_is_atomic(self, template: Path, tmp_path: Path) -> None:
        outcomes = set()
        for root in kill_everywhere(template, tmp_path / "killed", "put"):
            finished = seen_by_others(root, "tasks")
            assert finished in (keys(COUNT), keys(COUNT + 1))
            samples = set(seen_by_others(root, "samples"))
            assert samples >= set(finished)  # what counts has all of its rows
            outcomes.add(len(finished))
            self._done_again_it_is_as_if_nothing_had_happened(root)
        assert outcomes == {COUNT, COUNT + 1}

    def _done_again_it_is_as_if_nothing_had_happened(self, root: Path) -> None:
        store = Store(root)
        assert list((root / "_staging").iterdir()) == []
        store.drop_orphans(SWEEP)
        store.put(SWEEP, measurement(COUNT))
        assert seen_by_others(root, "tasks") == keys(COUNT + 1)
        assert seen_by_others(root, "samples") == sorted(keys(COUNT + 1) * SAMPLES)

    @pytest.mark.full
    @pytest.mark.parametrize("work", ["compact", "compact_in_two_steps"])
    def test_a_compaction_neither_loses_nor_duplicates_rows(
        self, template: Path, tmp_path: Path, work: str
    ) -> None:
        steps = kill_everywhere(template, tmp_path / "killed", work)
        for root in steps:
            if work == "compact":  # two steps have an instant in between; opening mends it
                assert seen_by_others(root, "tasks") == keys(COUNT)
                assert seen_by_others(root, "samples") == sorted(keys(COUNT) * SAMPLES)
            store = Store(root)
            assert seen_by_others(root, "tasks") == keys(COUNT)
            store.compact(SWEEP)
            assert seen_by_others(root, "tasks") == keys(COUNT)
            assert seen_by_others(root, "samples") == sorted(keys(COUNT) * SAMPLES)
            found = [path.name for path in root.rglob("*.parquet") if "sweep=" in str(path)]
            assert found == ["sweep.parquet", "sweep.parquet"]
        assert len(steps) > 20

    def test_the_start_of_a_sweep_is_atomic(self, template: Path, tmp_path: Path) -> None:
        started = set()
        for root in kill_everywhere(template, tmp_path / "killed", "begin"):
            store = Store(root)
            started.add(len(store.sweep_ids()))
            for sweep_id in store.sweep_ids():
                assert store.sweep_text(sweep_id) == TEXT
                assert store.repeat_numbers(sweep_id) != {}
        assert started == {1, 2}


WRITING = (
    WRITER
    + """
root, sweep_id = sys.argv[1:]
store = Store(root)
with store.hold_sweep(sweep_id):
    for number in range(10_000):
        store.put(sweep_id, measurement(number))
        print(number, flush=True)
"""
)


def writing(root: Path, sweep_id: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITING, str(root), sweep_id]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_loses_no_confirmed_row(
    tmp_path: Path,
) -> None:
    drawn = random.Random(5)
    for turn in range(3):
        root = tmp_path / str(turn)
        whole: set[Path] = set()
        with writing(root, SWEEP) as child:
            assert child.stdout
            try:
                for _ in range(drawn.randrange(1, 25)):
                    confirmed = int(child.stdout.readline())
                    new = set(root.glob("*/sweep=*/*.parquet")) - whole
                    for path in new:
                        pq.read_table(path)  # every file that can be seen is whole
                    whole |= new
            finally:
                child.send_signal(signal.SIGKILL)
            confirmed = max(
                [confirmed, *(int(line) for line in child.stdout if line.endswith("\n"))]
            )
        finished = Store(root).finished(SWEEP)
        assert {key for key, _ in finished} >= set(keys(confirmed + 1))
        assert len(finished) <= confirmed + 2


@pytest.mark.slow
def test_sweeps_of_several_processes_share_a_results_folder(tmp_path: Path) -> None:
    root = tmp_path / "results"
    ids = [f"20261124-06301{number}-a1b2" for number in range(2)]
    children = [writing(root, sweep_id) for sweep_id in ids]
    try:
        for child in children:
            assert child.stdout
            for _ in range(10):
                child.stdout.readline()
    finally:
        for child in children:
            child.kill()
            child.communicate()
    store = Store(root)
    for sweep_id in ids:
        finished = store.finished(sweep_id)
        assert {key for key, _ in finished} >= set(keys(10))
        store.compact(sweep_id)
        assert store.read("tasks", sweep_id).num_rows == len(finished)
        assert store.read("samples", sweep_id).num_rows == len(finished) * SAMPLES


@pytest.mark.slow
def test_a_reader_during_a_compaction_sees_every_row_once(tmp_path: Path) -> None:
    count = 24
    root = fill(tmp_path / "results", count)
    code = WRITER + "Store(sys.argv[1]).compact(SWEEP)"
    ours, others = Store.for_reading(root), 0
    with subprocess.Popen([sys.executable, "-c", code, str(root)]) as child:
        while child.poll() is None:
            assert sorted(ours.read("tasks", SWEEP)["task_id"].to_pylist()) == keys(count)
            assert ours.read("samples", SWEEP).num_rows == count * SAMPLES
            try:
                assert seen_by_others(root, "tasks") == keys(count)
                others += 1
            except FileNotFoundError:
                pass  # files that were listed just before: reported, never fewer rows
    assert child.returncode == 0
    assert others > 0
    assert [path.name for path in (root / "tasks").rglob("*.parquet")] == ["sweep.parquet"]


class TestFullDisk:
    @pytest.fixture
    def small(self, tmp_path: Path) -> Iterator[Path]:
        """A results folder on a file system of one MiB."""
        place = tmp_path / "small"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "velodrome-test", str(place)]
        if not shutil.which("mount") or subprocess.run(command, check=False).returncode != 0:
            pytest.skip("mounting is not permitted here")
        try:
            yield place / "results"
        finally:
            subprocess.run(["umount", str(place)], check=True)

    def test_a_row_that_does_not_fit_is_reported_and_leaves_nothing(self, small: Path) -> None:
        store = Store(small)
        store.put(SWEEP, measurement(0))
        with pytest.raises(StoreFull) as caught:
            store.put(SWEEP, measurement(1, samples=100_000))
        assert caught.value.path == str(small)
        assert caught.value.need_bytes > 1_000_000
        assert f"{small}: no space left for" in str(caught.value)
        assert "--resume" in str(caught.value)
        assert seen_by_others(small, "tasks") == seen_by_others(small, "samples")[::SAMPLES]
        assert store.finished(SWEEP) == {(task(0).key, 0)}
        assert [path for path in (small / "_staging").rglob("*") if path.is_file()] == []

    def test_a_row_that_fits_is_kept_after_one_that_did_not(self, small: Path) -> None:
        store = Store(small)
        with pytest.raises(StoreFull):
            store.put(SWEEP, measurement(1, samples=100_000))
        assert store.put(SWEEP, measurement(1))
        assert store.finished(SWEEP) == {(task(1).key, 0)}

    def test_a_compaction_without_disk_space_keeps_the_rows(self, small: Path) -> None:
        store = fill_up(small)
        before = seen_by_others(small, "samples")
        with pytest.raises(StoreFull):
            store.compact(SWEEP)
        assert seen_by_others(small, "samples") == before
        (small / "ballast").unlink()
        store.compact(SWEEP)
        assert seen_by_others(small, "samples") == before
        assert len(list((small / "samples").rglob("*.parquet"))) == 1

    def test_a_sweep_that_cannot_start_is_reported(self, small: Path) -> None:
        store = fill_up(small)
        with pytest.raises(StoreFull):
            store.begin("20261125-000000-ffff", TEXT, plan(3))
        assert store.sweep_ids() == (SWEEP,)

    def test_a_full_disk_is_reported_when_the_store_is_opened(self, small: Path) -> None:
        fill_up(small)
        with pytest.raises(StoreFull):
            Store(small)


def fill_up(root: Path) -> Store:
    """Two tasks, then nothing but ballast until not a byte more fits."""
    store = Store(root)
    for number in range(2):
        store.put(SWEEP, measurement(number, samples=2000))
    with (root / "ballast").open("wb", buffering=0) as file:
        free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
        file.write(bytes(free))
    return store
