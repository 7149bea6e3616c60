"""The top processes since the last reading, from made-up and real /proc files."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from velodrome.agents.sampling.cpu_times import CpuTimes
from velodrome.agents.sampling.interference_monitor import InterferenceMonitor
from velodrome.agents.sampling.top_processes import (
    LEAST_PERCENT,
    TopProcess,
    TopProcessFinder,
    parse_process_times,
)

pytestmark = pytest.mark.serial

SECOND = 10**9


def write(root: Path, pid: int, *, cpu: int = 1, state: str = "S", **ticks: int) -> None:
    """ticks: own, reaped; also parent, started."""
    fields = ["0"] * 50
    fields[0], fields[1] = state, str(ticks.get("parent", 1))
    fields[11], fields[14] = str(ticks.get("own", 0)), str(ticks.get("reaped", 0))
    fields[19], fields[36] = str(ticks.get("started", 5)), str(cpu)
    (root / str(pid)).mkdir(exist_ok=True)
    (root / str(pid) / "stat").write_text(f"{pid} (a (b) c{pid}) {' '.join(fields)}\n")


def remove(root: Path, pid: int) -> None:
    (root / str(pid) / "stat").unlink()
    (root / str(pid)).rmdir()


def find_percents(root: Path, finder: TopProcessFinder, at_s: int = 1) -> dict[int, float]:
    return {one.pid: one.percent for one in finder.find({1}, {99}, at_s * SECOND)}


def test_a_process_name_may_hold_brackets_and_any_bytes() -> None:
    text = b"7 (a) S (\xff\n) R 1 " + b"0 " * 46
    seen = parse_process_times(text)
    assert seen is not None
    assert (seen.command, seen.running) == ("a) S (\N{REPLACEMENT CHARACTER}\n", True)


def test_incomplete_kernel_files_name_no_process(tmp_path: Path) -> None:
    finder = TopProcessFinder(str(tmp_path))
    for second, text in enumerate(("7 (a) R 1 2 3", "7 (a) R 1 2 4", "", "7"), 1):
        (tmp_path / "7").mkdir(exist_ok=True)
        (tmp_path / "7" / "stat").write_text(text)
        assert find_percents(tmp_path, finder, second) == {}


def test_only_work_since_the_last_reading_counts(tmp_path: Path) -> None:
    for pid in (10, 11, 99):
        write(tmp_path, pid, own=5000)
    finder = TopProcessFinder(str(tmp_path))
    assert find_percents(tmp_path, finder, 1) == {}
    write(tmp_path, 10, own=5050)
    write(tmp_path, 12, own=20)
    write(tmp_path, 99, own=5090)  # of the task itself
    assert find_percents(tmp_path, finder, 2) == {10: 50.0, 12: 20.0}
    assert find_percents(tmp_path, finder, 3) == {}


def test_a_reused_pid_is_a_new_process(tmp_path: Path) -> None:
    write(tmp_path, 10, own=5000, started=5)
    finder = TopProcessFinder(str(tmp_path))
    find_percents(tmp_path, finder, 1)
    write(tmp_path, 10, own=30, started=6)
    assert find_percents(tmp_path, finder, 2) == {10: 30.0}


def test_work_of_ended_children_counts_for_their_parent(tmp_path: Path) -> None:
    write(tmp_path, 10)
    write(tmp_path, 11, own=400, parent=10)
    finder = TopProcessFinder(str(tmp_path))
    find_percents(tmp_path, finder, 1)
    remove(tmp_path, 11)
    # By hand: the child that was seen had done 400 of the 490, so 90 of them are new.
    write(tmp_path, 10, reaped=490)
    assert find_percents(tmp_path, finder, 2) == {10: 90.0}


def test_processes_on_the_tasks_cores_come_first(tmp_path: Path) -> None:
    finder = TopProcessFinder(str(tmp_path))
    write(tmp_path, 1)
    find_percents(tmp_path, finder, 1)
    write(tmp_path, 10, own=90, cpu=0, state="R")
    write(tmp_path, 11, own=50, cpu=1)
    write(tmp_path, 12, own=20, cpu=1, state="R")
    found = finder.find({1}, set(), 2 * SECOND)
    assert [(one.pid, one.on_task_cores, one.running) for one in found] == [
        (12, True, True),
        (11, True, False),
        (10, False, False),
    ]


@pytest.fixture
def busy_pid() -> Iterator[int]:
    code = "print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_the_monitor_looks_for_processes_only_during_interference(busy_pid: int) -> None:
    """The ticks are made up: a second without other work, then a second half full of it."""
    monitor = InterferenceMonitor(share=1.0)
    cores = os.sched_getaffinity(0)
    quiet = [CpuTimes(core_busy=0), CpuTimes(core_busy=100)]
    for second, ticks in enumerate(quiet):
        assert monitor.update(second * SECOND, second * SECOND, ticks, set(), cores) == ()
    deadline = time.monotonic() + 10
    found: tuple[TopProcess, ...] = ()
    second = 2
    while busy_pid not in {one.pid for one in found} and time.monotonic() < deadline:
        ticks = CpuTimes(core_busy=100 * second)
        found = monitor.update(second * SECOND, SECOND + second * SECOND // 2, ticks, set(), cores)
        second += 1
    assert busy_pid in {one.pid for one in found}
    assert all(one.percent >= LEAST_PERCENT for one in found)
