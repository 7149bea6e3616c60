"""Canaries around real tasks: what is kept of them, and that their failure harms nothing."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from velodrome.adapters.protocol import Timing
from velodrome.agents.canary import CanaryResult, add_canaries
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Limits, Task
from velodrome.scheduler.results.rows import build_tables
from velodrome.scheduler.results.typed_rows import task_rows
from velodrome.scheduler.statistics.canary_attribution import (
    CanaryRun,
    ChangeSource,
    attribute_change,
)

pytestmark = pytest.mark.serial

FAULTY = Path(__file__).parents[1] / "faulty"
HERE = take_inventory("this")
NODE = replace(HERE, cores=HERE.cores[-1:])  # so that it is known where everything runs
ROUNDS = 4  # of evidence at most: the canaries of a noisy machine leave it open for a while
QUICK = Timing(target=0.9, min_samples=3, min_seconds=0.1, max_seconds=0.6)
LIMITS = Limits(deadline_s=120)
TASK = Task("numpy", "float64", "canary", 128, timing=QUICK, limits=LIMITS, canary="numpy")
QUOTA_US = 1000  # of a CPU, the least that the kernel grants: in turns shorter than a call
SLOWER = 4
V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


@pytest.fixture(autouse=True)
def frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELODROME_ADAPTERS", str(FAULTY))
    for name in ("numpy", "sleepy", "segfaults"):
        monkeypatch.setenv(f"VELODROME_PYTHON_{name.upper()}", sys.executable)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept for all tests here, so that references are computed once."""
    return tmp_path_factory.mktemp("home")


def run(task: Task, home: Path) -> Measurement:
    store = EnvironmentStore(home / "envs")
    return execute(
        task, node=NODE, repeat=0, attempt=1, environments=store, on_event=lambda event: None
    )


@contextlib.contextmanager
def slower_machine() -> Iterator[None]:
    """This process and its children get a quarter of their speed, as if a clock had been capped."""
    period_us = int(QUOTA_US * SLOWER / _share())
    root = V1 if (V1 / "cpu.cfs_quota_us").exists() else V2
    group = root / f"velodrome-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group can be made here")
    try:
        _cap(group, period_us)
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (root / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def _cap(group: Path, period_us: int) -> None:
    try:
        if group.parent == V1:
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
        else:
            (group / "cpu.max").write_text(f"{QUOTA_US} {period_us}")
    except OSError:
        pytest.skip("no control group can be given less of a CPU here")


def _share() -> float:
    """Of a CPU, that this process gets where others run, too."""
    begun, used = time.monotonic(), time.process_time()
    while (took := time.monotonic() - begun) < 0.2:
        pass
    return max(0.1, (time.process_time() - used) / took)


def as_run(measurement: Measurement) -> CanaryRun:
    assert measurement.gradient, measurement.reason
    return task_rows(build_tables("1", measurement)["tasks"])[0].canary_run("gradient")


def forget(home: Path) -> None:
    for file in (home / "canaries").iterdir():
        file.unlink()


def heard(ns: float | None, model: str = "canary, numpy 2") -> CanaryResult:
    return CanaryResult(model, ns) if ns else CanaryResult(problem="it crashed")


BLANK = Measurement(
    TASK,
    0,
    1,
    Status.OK,
    "",
    "n1",
    "host1",
    "t1",
    1.0,
    2.0,
    interference_free=True,
    notes=("a note",),
)


def test_canaries_that_differ_by_more_than_a_tenth_tell_of_a_disturbance() -> None:
    for after, is_quiet in ((10.9e6, True), (11.1e6, False), (9e6, False)):
        found = add_canaries(BLANK, heard(10e6), heard(after))
        assert (found.canary_before_ns, found.canary_after_ns) == (10e6, after)
        assert found.interference_free is is_quiet
        assert bool(found.interference) is not is_quiet


def test_how_much_slower_it_got_stands_beside_what_else_disturbed_it() -> None:
    disturbed = replace(BLANK, interference_free=False, interference="others used the core")
    assert add_canaries(disturbed, heard(10e6), heard(15e6)).interference == (
        "others used the core; the canary took 50 % longer after the task than before"
    )


def test_a_canary_that_failed_is_a_note_and_no_number() -> None:
    found = add_canaries(BLANK, heard(None), heard(None))
    assert found.notes == ("a note", "no canary: it crashed")
    assert (found.canary_model, found.canary_before_ns, found.interference_free) == ("", None, True)


def test_no_canary_that_was_not_asked_for_is_missed() -> None:
    assert add_canaries(BLANK, CanaryResult(), CanaryResult()) == BLANK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("canary", "why"),
    [
        ("segfaults", "killed by SIGSEGV"),
        ("tensorflow", "the environment of tensorflow is not built on this node for cpu"),
    ],
)
def test_what_becomes_of_a_canary_is_no_harm_to_its_task(canary: str, why: str, home: Path) -> None:
    ended = run(replace(TASK, canary=canary), home)
    assert ended.status.has_number
    assert ended.notes[-1].startswith("no canary: ")
    assert why in ended.notes[-1]


@pytest.mark.full
@pytest.mark.slow
def test_a_slower_machine_is_told_from_a_slower_framework(home: Path) -> None:
    before, again = run(TASK, home), run(TASK, home)
    assert before.canary_model.startswith("canary, numpy ")
    assert again.canary_before_ns == before.canary_after_ns  # one canary between two tasks
    base, machine, framework = [as_run(before), as_run(again)], [], []
    for _ in range(ROUNDS):
        forget(home)
        with slower_machine():
            machine.append(as_run(run(TASK, home)))
        forget(home)
        framework.append(as_run(run(replace(TASK, framework="sleepy"), home)))
        found = attribute_change(base, machine), attribute_change(base, framework)
        if ChangeSource.UNKNOWN not in [change.cause for change in found]:
            break
        base.append(as_run(run(TASK, home)))
    assert [change.cause for change in found] == [ChangeSource.MACHINE, ChangeSource.FRAMEWORK], (
        found,
        [*base, *machine, *framework],
    )
