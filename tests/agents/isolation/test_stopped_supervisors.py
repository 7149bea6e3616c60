"""Tests of stopped supervisors and of workers that cannot be killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from velodrome.agents.cores.lock_files import try_lock
from velodrome.agents.cores.lock_holders import describe_holders
from velodrome.agents.isolation import orphans, supervised
from velodrome.agents.isolation.supervised import ExitCause, SupervisedProcess, run_supervised

ENDS = "import time; time.sleep(1.0)"
STAYS = "import time; time.sleep(100)"


def start_worker(stack: ExitStack, script: str, folder: Path, **bounds: float) -> SupervisedProcess:
    command = [sys.executable, "-I", "-S", "-c", script]
    return stack.enter_context(run_supervised(command, os.environ, folder / "log", **bounds))


def guard_of(running: SupervisedProcess) -> int:
    return psutil.Process(running.supervisor_pid).ppid()


def stop(running: SupervisedProcess, who: str) -> None:
    pids = {"supervisor": running.supervisor_pid, "guard": guard_of(running), "worker": running.pid}
    for name in who.split():
        os.kill(pids[name], signal.SIGSTOP)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["supervisor", "guard", "guard supervisor"])
def test_a_stopped_supervisor_is_continued_and_reports_how_its_worker_ended(
    who: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        running = start_worker(stack, ENDS, tmp_path)
        stop(running, who)
        time.sleep(1.2)  # until the worker has ended
        ending = running.poll(timeout_s=10)
    assert ending and (ending.cause, ending.exit_code) == (ExitCause.EXIT, 0)
    assert running.supervisor_was_stopped


@pytest.mark.parametrize("who", ["supervisor", "guard", "worker", "guard supervisor worker"])
def test_a_tree_with_a_stopped_process_is_killed_at_the_end_of_the_block(
    who: str, tmp_path: Path
) -> None:
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    begun_s = time.monotonic()
    with ExitStack() as stack:
        running = start_worker(stack, STAYS, tmp_path, held_fds=(lock,))
        os.close(lock)
        stop(running, who)
    assert time.monotonic() - begun_s < 8
    assert orphans.find_tree(running.token) == ()
    assert not psutil.pid_exists(running.supervisor_pid)
    free = try_lock(tmp_path / "lock")
    assert free is not None
    os.close(free)


@pytest.mark.slow
def test_a_repeatedly_stopped_supervisor_ends_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "END_S", 1.0)
    again = "import os, sys, time\nwhile True: os.kill(int(sys.argv[1]), 19); time.sleep(0.001)"
    with ExitStack() as stack:
        running = start_worker(stack, STAYS, tmp_path)
        stop(running, "supervisor guard")
        with ExitStack() as others:
            for pid in (running.supervisor_pid, guard_of(running)):
                command = [sys.executable, "-I", "-S", "-c", again, str(pid)]
                other = others.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
                others.callback(other.kill)
            time.sleep(0.5)
            ending = running.kill()
    assert ending and ending.cause in (
        ExitCause.STOPPED,
        ExitCause.RELEASED,
    )  # if it is ever quick enough
    assert running.survivors() == ()


AGENT = """
import os, signal, sys, time
from pathlib import Path
from velodrome.agents.cores.lock_files import try_lock
from velodrome.agents.isolation.supervised import run_supervised
folder = Path(sys.argv[1])
lock = try_lock(folder / "lock")
sleep = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(100)"]
with run_supervised(sleep, os.environ, folder / "log", held_fds=(lock,)) as running:
    stat = Path(f"/proc/{running.supervisor_pid}/stat").read_text()
    guard = int(stat.rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGSTOP)
    os.kill(running.supervisor_pid, signal.SIGSTOP)
    print(running.supervisor_pid, flush=True)
    time.sleep(100)
"""


def test_processes_that_outlive_their_agent_are_named_as_holders_and_killed_by_the_next_agent(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", AGENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout
        supervisor = int(agent.stdout.readline())
        assert describe_holders([tmp_path / "lock"]).startswith(f"pid {agent.pid} (")
        agent.kill()
    holder = describe_holders([tmp_path / "lock"])
    assert f"pid {supervisor} (" in holder and ", stopped)" in holder
    assert f"left by pid {agent.pid} (" in holder
    orphans.remove_orphans()
    deadline = time.monotonic() + 5
    while (lock := try_lock(tmp_path / "lock")) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lock is not None
    os.close(lock)


OF_ROOT = """
#include <unistd.h>
int main(void) { if (setuid(0)) return 1; write(1, "up", 2); for (;;) pause(); }
"""
AS_NOBODY = """
import json, os, sys
from pathlib import Path
from velodrome.agents.cores.lock_holders import describe_holders
from velodrome.agents.cores.lock_files import try_lock
from velodrome.agents.isolation import supervised
os.setgroups([]); os.setgid(65534); os.setuid(65534)
supervised.END_S = 1.0
sys.executable = "/usr/bin/python3"  # the test's own may be root's alone
folder = Path(sys.argv[1])
lock = try_lock(folder / "lock")
command = [str(folder / "root")]
with supervised.run_supervised(command, {}, folder / "log", held_fds=(lock,)) as running:
    while not (folder / "log").exists() or "up" not in (folder / "log").read_text(): pass
    os.close(lock)
    ending = running.kill()
    pids = running.pid, running.supervisor_pid, running.survivors()
    result = ending, *pids, describe_holders([folder / "lock"])
print(json.dumps(result))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make what others cannot kill")
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs a Python of everybody's")
def test_an_unkillable_worker_is_named_with_the_holder_of_its_locks() -> None:
    """Its supervisor goes on, and lets go of them when it is gone at last."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, 65534, 65534)
    (folder / "root.c").write_text(OF_ROOT)
    subprocess.run([compiler, "-o", folder / "root", folder / "root.c"], check=True)
    (folder / "root").chmod(0o4755)
    done = subprocess.run([sys.executable, "-c", AS_NOBODY, folder], stdout=subprocess.PIPE)
    assert done.returncode == 0
    ending, worker, supervisor, left, holder = json.loads(done.stdout)
    try:
        assert ending is None
        assert supervisor in left
        assert f"pid {supervisor} (" in holder
        assert try_lock(folder / "lock") is None
    finally:
        os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while (lock := try_lock(folder / "lock")) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lock is not None
    os.close(lock)
    shutil.rmtree(folder)
