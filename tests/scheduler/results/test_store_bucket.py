"""A store in a bucket: its writer is killed at a request; others read or claim it meanwhile.

The server is in this process: what is killed is a real child, at the n-th request that changes
something, after the server has done it and before it has answered.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from made_measurements import make_measurement
from pyarrow import fs

from velodrome.agents.environments.versions import VersionLocks
from velodrome.agents.measurement import Measurement, Sample
from velodrome.agents.task import Task
from velodrome.scheduler.errors import ConfigError, StoreError, SweepBusy
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE
from velodrome.scheduler.plans.placement import Placement, Plan
from velodrome.scheduler.results import lease
from velodrome.scheduler.results.store import Store

Place = Any  # see conftest.py
S3Server = Any

SWEEP = "20261124-063012-a1b2"
TEXT = "frameworks: [torch]\nmodels: [lenet]\n"
COUNT = 1
SAMPLES = 4

# A warm child forks another per line, which does the line's work and is killed meanwhile.
FORKER = f"""
import os, sys
from velodrome.agents.measurement import Measurement, Sample, Status
from velodrome.agents.task import Task
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results import bucket_preflight as bucket_opening

def measurement(number):
    samples = tuple(Sample("forward", i, 1, 1000 * i, 900 + i) for i in range({SAMPLES}))
    task = Task("torch", "eager", "lenet", number + 1)
    return Measurement(task, 0, 1, Status.OK, "", "n1", "h", "t", 0.0, 1.0, samples=samples)

for line in sys.stdin:
    work, results = line.split()
    child = os.fork()
    if child == 0:
        store = Store(results)
        if work == "put":
            store.put({SWEEP!r}, measurement({COUNT}))
        else:
            store.compact({SWEEP!r})
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def task(number: int) -> Task:
    return Task("torch", "eager", "lenet", number + 1)


def measurement(number: int, *, attempt: int = 1) -> Measurement:
    samples = tuple(Sample("forward", i, 1, 1000 * i, 900 + i) for i in range(SAMPLES))
    return make_measurement(task(number), attempt=attempt, samples=samples)


def keys(count: int) -> list[str]:
    return sorted(task(number).key for number in range(count))


def fill(results: str, count: int = COUNT) -> Store:
    store = Store(results)
    with store.hold_sweep(SWEEP):
        store.begin(SWEEP, TEXT, Plan(tuple(Placement(task(n), 0, "n1") for n in range(count))))
        for number in range(count):
            store.put(SWEEP, measurement(number))
    return store


def seen(store: Store, table: str) -> list[str]:
    return sorted(store.read(table, SWEEP)["task_id"].to_pylist())


@pytest.fixture
def forker(s3_server: S3Server) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", FORKER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as child:
        try:
            yield child
        finally:
            child.kill()


class Killing:
    """Kills a child at the n-th request that changes one of a sweep's rows or its manifest."""

    def __init__(self, forker: "subprocess.Popen[str]", server: S3Server) -> None:
        self.forker, self.server = forker, server

    def at(self, count: int, work: str, results: str) -> bool:
        """False: it had done all before its turn came."""
        seen = 0
        pid: list[int] = []

        def hook(method: str, path: str) -> tuple[bool, Callable[[], None]] | None:
            nonlocal seen
            tells = "/sweep=" in path or path.endswith("compacted.json")
            if method == "GET" or method == "HEAD" or not tells or path.endswith("/"):
                return None
            seen += 1
            return (True, lambda: os.kill(pid[0], signal.SIGKILL)) if seen == count else None

        assert self.forker.stdin and self.forker.stdout
        self.forker.stdin.write(f"{work} {results}\n")
        self.forker.stdin.flush()
        pid.append(int(self.forker.stdout.readline()))
        self.server.hook = hook
        status = int(self.forker.stdout.readline())
        self.server.hook = None
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)


@pytest.fixture
def killing(forker: "subprocess.Popen[str]", s3_server: S3Server) -> Killing:
    return Killing(forker, s3_server)


def copied(bucket: Place, name: str) -> str:
    """All that is in the place, in another one."""
    target = bucket.root + name
    for path in bucket.everything():
        bucket.filesystem.copy_file(path, target + path.removeprefix(bucket.root))
    return bucket.results + name


@pytest.mark.slow
class TestKilledAtEveryRequest:
    def test_a_put_is_atomic(self, bucket: Place, killing: Killing) -> None:
        fill(bucket.results)
        count, outcomes, was_killed = 0, set(), True
        while was_killed:
            count += 1
            results = copied(bucket, f"-{count}")
            was_killed = killing.at(count, "put", results)
            store = Store(results)
            finished = seen(store, "tasks")
            assert finished in (keys(COUNT), keys(COUNT + 1))
            assert set(seen(store, "samples")) >= set(finished)
            outcomes.add(len(finished))
            store.put(SWEEP, measurement(COUNT))  # the claim of the dead is no bar
            assert seen(store, "tasks") == keys(COUNT + 1)
            assert seen(store, "samples") == sorted(keys(COUNT + 1) * SAMPLES)
        assert outcomes == {COUNT, COUNT + 1}
        assert count == 3  # samples, tasks, and none

    @pytest.mark.full
    def test_a_compaction_neither_loses_nor_duplicates_rows(
        self, bucket: Place, killing: Killing
    ) -> None:
        fill(bucket.results, 1)
        count, was_killed = 0, True
        while was_killed:
            count += 1
            results = copied(bucket, f"-{count}")
            was_killed = killing.at(count, "compact", results)
            store = Store(results)
            for _ in range(2):
                assert seen(store, "tasks") == keys(1)
                assert seen(store, "samples") == keys(1) * SAMPLES
                store.compact(SWEEP)
            selector = fs.FileSelector(f"{bucket.root}-{count}/tasks", recursive=True)
            found = bucket.filesystem.get_file_info(selector)
            assert len([info for info in found if info.type == fs.FileType.File]) == 1
        assert count == 6  # two tables, the manifest, two files removed, and none


@pytest.mark.slow
def test_an_interrupted_multipart_upload_leaves_no_file(bucket: Place, s3_server: S3Server) -> None:
    """A big object is put in parts, and is there with the last request alone."""
    store = fill(bucket.results, 1)
    objects = store._backend.objects  # type: ignore[attr-defined]
    path = store._layout.rows("samples", SWEEP) / "big.parquet"
    parts: list[str] = []

    def hook(method: str, path: str) -> tuple[bool, Callable[[], None]] | None:
        if "big.parquet" not in path:
            return None
        parts.append(method)
        return (False, lambda: None) if parts.count("PUT") == 2 else None

    s3_server.hook = hook
    file = Zeros(24 * 2**20)
    with pytest.raises(OSError, match="UploadPart"):
        objects.put_file(path, file)
    assert parts[0] == "POST" and parts.count("PUT") >= 2
    s3_server.hook = None
    assert not objects.exists(path)
    assert store.read("samples", SWEEP).num_rows == SAMPLES


class Zeros:
    """A file of so many bytes."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int) -> bytes:
        given = min(size, self.left)
        self.left -= given
        return bytes(given)


@pytest.mark.slow
def test_a_reader_during_a_compaction_sees_every_row_once(bucket: Place) -> None:
    fill(bucket.results, 6)
    ours, reads = Store.for_reading(bucket.results), 0
    compacting = threading.Thread(target=Store(bucket.results).compact, args=(SWEEP,))
    compacting.start()
    while compacting.is_alive():
        assert seen(ours, "tasks") == keys(6)
        reads += 1
    compacting.join()
    assert reads > 1
    assert seen(ours, "tasks") == keys(6)
    assert len(bucket.paths("tasks")) == 1


class TestClaims:
    def test_two_stores_cannot_work_on_one_sweep(self, bucket: Place, monkeypatch: Any) -> None:
        monkeypatch.setattr(lease, "PATIENCE_S", 0.0)
        store, other = Store(bucket.results), Store(bucket.results)
        with store.hold_sweep(SWEEP), pytest.raises(SweepBusy) as caught:
            other.put(SWEEP, measurement(0))
        assert f"another process works on this sweep: process {os.getpid()} of" in str(caught.value)
        assert "if it is dead, the sweep is free in" in str(caught.value)
        assert other.put(SWEEP, measurement(0))

    def test_only_one_of_many_stores_holds_a_sweep_at_a_time(
        self, bucket: Place, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(lease, "PATIENCE_S", 20.0)
        within, most, held = 0, 0, 0
        counting = threading.Lock()

        def work() -> None:
            nonlocal within, most, held
            with Store(bucket.results).hold_sweep(SWEEP):
                with counting:
                    within, held = within + 1, held + 1
                    most = max(most, within)
                Store.for_reading(bucket.results).sweep_ids()
                with counting:
                    within -= 1

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (most, held) == (1, 3)

    def test_an_error_of_the_caller_while_a_sweep_is_held_is_raised_unchanged(
        self, bucket: Place
    ) -> None:
        store = Store(bucket.results)
        with pytest.raises(ConnectionResetError), store.hold_sweep(SWEEP):
            raise ConnectionResetError("of a node")
        assert store.put(SWEEP, measurement(0))

    @pytest.mark.slow
    def test_an_expired_lease_is_taken_over_and_its_holder_fails(
        self, bucket: Place, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(lease, "BEAT_S", 1000.0)  # as if its process stood still
        monkeypatch.setattr(lease, "TTL_S", 1.0)
        store, other = Store(bucket.results), Store(bucket.results)
        with store.hold_sweep(SWEEP):
            store.put(SWEEP, measurement(0))
            deadline = time.monotonic() + 30
            while True:
                try:
                    other.put(SWEEP, measurement(1))
                    break
                except SweepBusy:
                    assert time.monotonic() < deadline
            with pytest.raises(StoreError, match="another one has taken the sweep"):
                store.put(SWEEP, measurement(2))
        assert seen(other, "tasks") == keys(2)

    @pytest.mark.slow
    def test_a_renewed_lease_is_not_taken_over(self, bucket: Place, monkeypatch: Any) -> None:
        monkeypatch.setattr(lease, "BEAT_S", 0.1)
        monkeypatch.setattr(lease, "TTL_S", 1.5)
        monkeypatch.setattr(lease, "PATIENCE_S", 2.0)
        store, other = Store(bucket.results), Store(bucket.results)
        with store.hold_sweep(SWEEP), pytest.raises(SweepBusy):
            other.put(SWEEP, measurement(0))


def test_a_bucket_that_denies_access_later_is_reported_as_such(
    bucket: Place, s3_server: S3Server
) -> None:
    store = fill(bucket.results, 1)
    s3_server.hook = lambda method, path: (False, lambda: None)
    for use in (
        lambda: store.read("tasks"),
        lambda: store.put(SWEEP, measurement(1)),
        lambda: store.sweep_ids(),
        lambda: store.sweep_text(SWEEP),
        lambda: store.version_locks(SWEEP),
    ):
        with pytest.raises(StoreError, match="ACCESS_DENIED"):
            use()


class TestOpening:
    def test_a_missing_bucket_is_reported(self, s3: fs.FileSystem) -> None:
        with pytest.raises(ConfigError, match="there is no such bucket"):
            Store("s3://velodrome-nowhere/results")
        with pytest.raises(ConfigError, match="there is no such bucket"):
            Store.for_reading("s3://velodrome-nowhere/results")

    def test_an_empty_place_is_reported(self, bucket: Place) -> None:
        with pytest.raises(ConfigError, match="there is nothing here"):
            Store.for_reading(bucket.results)

    def test_a_server_that_denies_access_is_reported(
        self, bucket: Place, s3_server: S3Server
    ) -> None:
        s3_server.hook = lambda method, path: (False, lambda: None)
        with pytest.raises(ConfigError, match="it may not be used with the credentials"):
            Store(bucket.results)

    def test_the_endpoint_may_be_in_the_address(
        self, bucket: Place, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        host = s3_server.endpoint.removeprefix("http://")
        results = f"{bucket.results}?endpoint_override={host}&scheme=http"
        store = fill(results, 1)
        assert store.name == results
        assert seen(Store.for_reading(results), "tasks") == keys(1)


def test_locks_and_the_sweeps_text_are_read_on_another_machine(
    bucket: Place, tmp_path: Any
) -> None:
    used = VersionLocks(tmp_path / "used")
    texts = (("cpu-linux.txt", "torch==2.1 \\\n    --hash=sha256:" + "0" * 64 + "\n"),)
    used.keep("torch==2.1", "abc", texts)
    used.choose("torch==2.1", "cpu", "abc")
    fill(bucket.results, 1).keep_locks(SWEEP, used, [("torch==2.1", "cpu")])
    again = Store.for_reading(bucket.results)
    assert again.sweep_text(SWEEP) == TEXT
    locks = again.version_locks(SWEEP)
    assert locks.texts("torch==2.1", locks.chosen_hash("torch==2.1", "cpu")) == texts


def test_a_large_group_takes_four_requests(bucket: Place, s3_server: S3Server) -> None:
    store = fill(bucket.results, 1)
    puts: list[str] = []

    def hook(method: str, path: str) -> None:
        if method == "PUT" and "/sweep=" in path and not path.endswith("/"):
            puts.append(path)

    with store.hold_sweep(SWEEP):
        s3_server.hook = hook
        store.put_all(SWEEP, [(measurement(number), TO_AGREE) for number in range(1, 40)])
    assert len(puts) == 2  # samples and tasks
    assert "/tasks/" in puts[-1]
    assert len(store.finished(SWEEP)) == 40
