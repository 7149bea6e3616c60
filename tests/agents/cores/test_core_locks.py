"""Tasks of several agents on one machine: no two share a core, none waits for ever."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from velodrome.agents.cores.assignment import DoesNotFit, ResourceRequest
from velodrome.agents.cores.core_locks import LockedShare, WaitedTooLong, lock_resources
from velodrome.agents.cores.lock_files import LocksUnusable, lock_folder
from velodrome.agents.isolation.supervised import run_supervised
from velodrome.agents.node import Core, Gpu, Node

# CPUs beyond any machine's, so that no real topology is asked.
CORES = tuple(Core(number, (9000 + number,)) for number in range(4))
NODE = Node("n", "track", "cpu", CORES, 2**34, gpus=(Gpu(0, "L4", "GPU-0", 2**34),))
ONE = ResourceRequest(threads=1, exclusive=False)
ALL = ResourceRequest(threads=1)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VELODROME_LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


def ignore_message(story: str) -> None:
    """Ignore the message."""


def hold(
    stack: ExitStack, need: ResourceRequest, deadline_s: float = 0.0, node: Node = NODE
) -> LockedShare:
    return stack.enter_context(
        lock_resources(node, need, deadline_s=deadline_s, on_wait=ignore_message)
    )


def numbers(held: LockedShare) -> list[int]:
    return [core.number for core in held.share.allotment.cores]


def test_tasks_that_share_a_node_take_any_free_cores() -> None:
    with ExitStack() as stack:
        assert [numbers(hold(stack, ONE)) for _ in range(4)] == [[1], [2], [3], [0]]
        with pytest.raises(WaitedTooLong):
            hold(stack, ONE)


def test_a_core_is_free_again_after_its_task() -> None:
    for _ in range(3):
        with ExitStack() as stack:
            assert numbers(hold(stack, ONE)) == [1]


def test_an_exclusive_task_shares_its_node_with_no_task() -> None:
    with ExitStack() as stack:
        hold(stack, ONE)
        with pytest.raises(WaitedTooLong):
            hold(stack, ALL)
    with ExitStack() as stack:
        hold(stack, ALL)
        with pytest.raises(WaitedTooLong):
            hold(stack, ONE)


def test_a_gpu_is_held_by_one_task_and_a_shared_cpu_task_holds_none() -> None:
    gpu = ResourceRequest(threads=1, gpu_count=1, exclusive=False)
    with ExitStack() as stack:
        hold(stack, ONE)
        assert hold(stack, gpu).share.gpus == NODE.gpus
        with pytest.raises(WaitedTooLong, match="waiting for GPUs and cores"):
            hold(stack, gpu)
        hold(stack, ONE)


def test_a_request_that_never_fits_fails_at_once() -> None:
    with ExitStack() as stack, pytest.raises(DoesNotFit):
        hold(stack, ResourceRequest(threads=5), deadline_s=60)


def test_a_waiting_task_learns_who_holds_its_cores() -> None:
    stories: list[str] = []
    with (
        lock_resources(NODE, ALL, deadline_s=0, on_wait=stories.append),
        pytest.raises(WaitedTooLong) as refusal,
        lock_resources(NODE, ALL, deadline_s=0.5, on_wait=stories.append),
    ):
        pass
    assert len(stories) == 1
    assert stories[0].startswith(f"waiting for cores, held by pid {os.getpid()} (")
    assert str(refusal.value).startswith(stories[0])
    assert "not free in time" in str(refusal.value)


HOLDER = """
import functools, sys
from velodrome.agents.cores.core_locks import lock_resources
from velodrome.agents.cores.assignment import ResourceRequest
from velodrome.agents.node import Core, Node
node = Node("n", "track", "cpu", tuple(Core(n, (9000 + n,)) for n in range(4)), 2**34)
need = ResourceRequest(threads=1, exclusive=sys.argv[1] == "exclusive")
tell = functools.partial(print, flush=True)
with lock_resources(node, need, deadline_s=60, on_wait=tell) as held:
    print("held", held.share.allotment.cores[0].number, flush=True)
    sys.stdin.readline()
"""


class Holder:
    """Another agent, which takes cores and keeps them until it reads a line."""

    def __init__(self, kind: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def read_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def release(self) -> None:
        self._process.communicate("\n", timeout=20)

    def kill_process(self) -> None:
        """Kill the process unless it has ended by itself."""
        self._process.kill()
        self._process.wait(20)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def holder() -> Iterator[Callable[[str], Holder]]:
    started: list[Holder] = []

    def start(kind: str) -> Holder:
        started.append(Holder(kind))
        return started[-1]

    yield start
    for one in started:
        one.kill_process()


def test_the_locks_of_a_killed_agent_are_free_at_once(holder: Callable[[str], Holder]) -> None:
    other = holder("exclusive")
    assert other.read_line() == "held 1"
    with ExitStack() as stack:
        with pytest.raises(WaitedTooLong, match=f"held by pid {other.pid} "):
            hold(stack, ONE)
        other.kill_process()
        assert numbers(hold(stack, ONE)) == [1]


def test_a_task_that_needs_all_cores_is_not_overtaken_by_small_ones(
    holder: Callable[[str], Holder],
) -> None:
    with ExitStack() as stack:
        hold(stack, ONE)
        large = holder("exclusive")
        assert large.read_line().startswith(f"waiting for cores, held by pid {os.getpid()} ")
        small = holder("shared")  # three cores are free, but it stands behind
        assert small.read_line().startswith(f"waiting for a turn, held by pid {large.pid} ")
        stack.close()
        assert large.read_line() == "held 1"
        assert small.read_line().startswith(f"waiting for cores, held by pid {large.pid} ")
        large.release()
        assert small.read_line() == "held 1"
        small.release()


def test_cores_are_freed_only_when_the_tasks_whole_tree_has_ended(tmp_path: Path) -> None:
    """The supervisor holds the locks too: here the agent lets go of them while its worker runs."""
    with ExitStack() as tree:
        with ExitStack() as stack:
            held = hold(stack, ALL)
            command = ["/bin/sh", "-c", "sleep 60"]
            tree.enter_context(
                run_supervised(command, os.environ, tmp_path / "log", held_fds=held.descriptors)
            )
        with ExitStack() as stack, pytest.raises(WaitedTooLong):
            hold(stack, ONE)
    with ExitStack() as stack:
        assert numbers(hold(stack, ONE)) == [1]


def test_no_two_of_many_tasks_ever_hold_one_core() -> None:
    busy: set[int] = set()
    clashes: list[int] = []
    guard = threading.Lock()

    def work(need: ResourceRequest) -> None:
        for _ in range(3):
            with lock_resources(NODE, need, deadline_s=60, on_wait=ignore_message) as held:
                own = {core.number for core in held.share.locked_cores}
                with guard:
                    clashes.extend(own & busy)
                    busy.update(own)
                time.sleep(0.01)  # that is the work
                with guard:
                    busy.difference_update(own)

    needs = [ONE, ONE, ResourceRequest(threads=2, exclusive=False), ALL]
    threads = [threading.Thread(target=work, args=(need,)) for need in needs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert clashes == []


def test_the_folder_and_its_files_are_open_to_every_user(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        with ExitStack() as stack:
            hold(stack, ONE)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o666}


def test_a_folder_that_cannot_be_created_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VELODROME_LOCKS", str(tmp_path / "file"))
    with pytest.raises(LocksUnusable, match="Set VELODROME_LOCKS to a folder"):
        lock_folder()


def test_a_link_in_place_of_a_lock_is_refused(folder: Path, tmp_path: Path) -> None:
    lock_folder()
    (folder / "turnstile.lock").symlink_to(tmp_path / "elsewhere")
    with ExitStack() as stack, pytest.raises(LocksUnusable, match="cannot lock"):
        hold(stack, ONE)
    assert not (tmp_path / "elsewhere").exists()
