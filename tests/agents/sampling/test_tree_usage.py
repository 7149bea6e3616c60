import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from velodrome.agents.sampling.process_counters import ProcessReader, children_of_all, parse_stat
from velodrome.agents.sampling.tree_usage import TreeReader

PARENT = """
import signal, subprocess, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1]], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
until = time.process_time() + 0.2
while time.process_time() < until: pass
"""


@contextmanager
def parent_of(code: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A process that works on after its child, for which it does not wait, and the child's PID."""
    command = [sys.executable, "-S", "-c", PARENT, code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())


def test_a_program_may_have_brackets_and_spaces_in_its_name() -> None:
    numbers = " ".join(str(number) for number in range(4, 53))
    stat = parse_stat(f"7 (a) b) (c) Z 1 {numbers}".encode())
    assert (stat.alive, stat.parent, stat.threads) == (False, 1, 19)


def test_the_cpu_time_of_a_process_agrees_with_its_own_count() -> None:
    process = ProcessReader(os.getpid())
    before = time.process_time_ns()
    measured_ns = process.cpu_ns()
    assert before <= measured_ns <= time.process_time_ns()


def test_an_ended_process_has_no_tree() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        process.wait()
    with pytest.raises(ProcessLookupError):
        TreeReader(process.pid)


def test_a_tree_ends_with_its_last_process_and_not_with_its_first() -> None:
    with parent_of("input()") as (process, child):
        tree = TreeReader(process.pid)
        usage = tree.read()
        assert usage is not None and usage.threads == 2
        assert tree.pids == {process.pid, child}
        process.kill()
        process.wait()
        assert tree.read() is not None and not tree.is_over
        os.kill(child, 9)
        deadline = time.monotonic() + 10
        while not tree.is_over:
            assert time.monotonic() < deadline
            tree.read()


def test_the_cpu_time_of_a_child_that_nobody_waits_for_counts() -> None:
    code = "import time\nwhile time.process_time() < 0.2: pass\ninput()"
    with parent_of(code) as (process, child):
        tree = TreeReader(process.pid)
        usage = tree.read()
        while usage is not None and usage.cpu_ns < 200_000_000:
            usage = tree.read()
        os.kill(child, 9)
        while usage is not None and not tree.is_over:
            usage = tree.read()
        assert usage is not None and usage.cpu_ns == pytest.approx(0.42e9, abs=0.05e9)


def test_children_are_found_without_the_kernels_list_of_them() -> None:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE
    ) as process:
        assert process.pid in children_of_all()[os.getpid()]
        process.kill()


def _until_over(tree: TreeReader) -> None:
    deadline = time.monotonic() + 10
    while not tree.is_over:
        assert time.monotonic() < deadline
        tree.read()
