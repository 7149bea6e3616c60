"""Real work of others beside a real measurement of the NumPy adapter."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from velodrome.adapters.protocol import Phase, Timing
from velodrome.agents.cores.assignment import choose
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Measurement
from velodrome.agents.sampling.interfering_processes import MOST
from velodrome.agents.task import Limits, Task

pytestmark = [pytest.mark.slow, pytest.mark.serial]

NODE = take_inventory("this")
ALLOTMENT = choose(NODE, 1)
TIMING = Timing(target=0.9, min_samples=3, min_seconds=0.9, max_seconds=1.2)
TASK = Task(
    "numpy",
    "float64",
    "lenet",
    2,
    timing=TIMING,
    limits=Limits(deadline_s=60),
)
# It names itself like no other, with an escape sequence, and ends by itself in the end.
STRESSOR = """
import ctypes, os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
ctypes.CDLL(None).prctl(15, b"str\\x1b[31messor", 0, 0, 0)
print("running", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    pass
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELODROME_PYTHON_NUMPY", sys.executable)


@contextmanager
def stressor(cpu: int) -> Iterator[int]:
    """Its pid; it runs from now on."""
    command = [sys.executable, "-c", STRESSOR, str(cpu)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        try:
            yield process.pid
        finally:
            process.kill()


def measure(home: Path, cpu: int | None = None) -> tuple[Measurement, int | None]:
    """Measure with a stressor on this CPU from the start of the timing; return its pid too."""
    pids = []
    with ExitStack() as stack:

        def on_event(event: object) -> None:
            if (
                cpu is not None
                and not pids
                and isinstance(event, Phase)
                and event.name == "forward"
            ):
                pids.append(stack.enter_context(stressor(cpu)))

        store = EnvironmentStore(home / "envs")
        ended = execute(TASK, node=NODE, repeat=0, attempt=1, environments=store, on_event=on_event)
    assert ended.status.has_number, ended.reason
    return ended, pids[0] if pids else None


def test_a_stressor_on_the_tasks_core_is_flagged_and_named(home: Path) -> None:
    assert ALLOTMENT is not None
    ended, pid = measure(home, ALLOTMENT.cpus[0])
    assert ended.interference_free is False
    near = {
        suspect.pid
        for reading in ended.readings
        for suspect in reading.top_processes
        if suspect.on_task_cores
    }
    assert pid in near
    if len(near) <= MOST:  # on a machine that is crowded anyway, others may have done more
        assert f"stressor (pid {pid})" in ended.interference
    assert ended.other_cpu_percent_mean is not None
    assert ended.other_cpu_percent_mean > 25


def test_a_task_without_interference_is_interference_free(home: Path) -> None:
    """The machine's own counters decide: if others work, the task is not interference-free."""
    start_s, before_s = time.monotonic(), others_s()
    ended, _ = measure(home)
    share = (others_s() - before_s) / (time.monotonic() - start_s)
    assert ended.interference_free is not None
    if share < 0.03:
        assert (ended.interference_free, ended.interference) == (True, "")
    elif ended.interference_free is False:
        pytest.skip(f"others use {100 * share:.0f} % of a core of this machine")


@pytest.mark.skipif((os.cpu_count() or 1) < 3, reason="there is no core to spare between them")
def test_a_stressor_behind_a_spare_core_is_reported_and_not_flagged(home: Path) -> None:
    assert ALLOTMENT is not None
    own = {cpu for core in ALLOTMENT.cores for cpu in core.cpus} | {ALLOTMENT.sampler_cpu}
    ended, pid = measure(home, max(os.sched_getaffinity(0) - own))
    assert f"stressor (pid {pid})" not in ended.interference
    assert f"stressor (pid {pid})" in ended.minor_interference


def others_s() -> float:
    """CPU time of all but this process and its children, stolen time included."""
    times = psutil.cpu_times()
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own_s = sum(usage.ru_utime + usage.ru_stime for usage in own)
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal - own_s
