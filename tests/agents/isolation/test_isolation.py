"""A supervised worker: its limits, and the end of its whole tree, whatever is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from velodrome.agents.isolation import orphans
from velodrome.agents.isolation.pipe_lines import EndlessLine
from velodrome.agents.isolation.supervised import ExitCause, StartFailed, run_supervised
from velodrome.agents.isolation.worker_process import (
    RunningWorker,
    WorkerBounds,
    memory_limit,
    scratch_folder,
    start_worker,
)
from velodrome.agents.isolation.worker_variables import worker_variables
from velodrome.agents.node import Core, Node
from velodrome.agents.safe_text import read_log_tail, sanitize, strip_controls

MIB = 2**20
GONE_S = 2.0  # what the design promises

SAY = "import os, sys\ndef say(text): os.write(int(sys.argv[-1]), (text + '\\n').encode())\n"
STUBBORN = (
    "import signal, time\n"
    "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):\n"
    "    signal.signal(number, signal.SIG_IGN)\n"
)
# Grandchildren whose parents are gone, each in a session of its own, deaf to all but SIGKILL.
FAMILY = (
    SAY + STUBBORN + "heard, told = os.pipe()\n"
    "for _ in range(3):\n"
    "    if os.fork() == 0:\n"
    "        os.setsid()\n"
    "        if os.fork() == 0:\n"
    "            os.setsid()\n"
    "            say('up')\n"
    "            os.write(told, b'.')\n"
    "            while True: time.sleep(60)\n"
    "        os._exit(0)\n"
    "    os.wait()\n"
    "    os.read(heard, 1)\n"
)
FAMILY_THAT_STAYS = FAMILY + "while True: time.sleep(60)\n"


def command(script: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", script]


def start(
    stack: ExitStack, script: str, scratch: Path, bounds: WorkerBounds | None = None
) -> RunningWorker:
    bounds = bounds or WorkerBounds(deadline_s=60)
    return stack.enter_context(start_worker(command(script), os.environ, bounds, scratch))


def run(
    script: str, scratch: Path, bounds: WorkerBounds | None = None
) -> tuple[list[str], RunningWorker]:
    with ExitStack() as stack:
        running = start(stack, script, scratch, bounds)
        lines = list(running.events())
        running.wait()
    return lines, running


def becomes_true(holds: Callable[[], bool], within_s: float = GONE_S) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_alive(pid: int) -> bool:
    """No zombie either counts."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_events_are_read_line_by_line_from_their_own_descriptor(tmp_path: Path) -> None:
    script = SAY + "print('noise'); say('one'); say('two'); sys.exit(3)"
    lines, running = run(script, tmp_path)
    ending = running.wait()
    assert lines == ["one", "two"]
    assert ending is not None
    assert (ending.cause, ending.exit_code, ending.signal) == (ExitCause.EXIT, 3, None)
    assert running.log_tail() == "noise"


def test_a_segfault_is_reported_with_its_signal(tmp_path: Path) -> None:
    lines, running = run(SAY + "say('a'); os.kill(os.getpid(), 11)", tmp_path)
    ending = running.wait()
    assert lines == ["a"]
    assert ending is not None
    assert (ending.cause, ending.signal) == (ExitCause.EXIT, signal.SIGSEGV)


def test_a_worker_that_ignores_sigterm_is_gone_after_the_deadline(tmp_path: Path) -> None:
    began = time.monotonic()
    script = SAY + STUBBORN + "say('up')\nwhile True: time.sleep(60)"
    _, running = run(script, tmp_path, WorkerBounds(deadline_s=0.5))
    ending = running.wait()
    assert ending is not None
    assert ending.cause is ExitCause.DEADLINE
    assert 0.5 <= time.monotonic() - began < 0.5 + GONE_S
    assert not is_alive(running.pid)


def test_a_worker_over_its_memory_limit_is_killed_near_it(tmp_path: Path) -> None:
    script = "hoard = []\nwhile True: hoard.append(bytearray(os.urandom(1) * 4194304))"
    bounds = WorkerBounds(memory_bytes=150 * MIB, deadline_s=60)
    _, running = run("import os\n" + script, tmp_path, bounds)
    ending = running.wait()
    assert ending is not None
    assert ending.cause is ExitCause.MEMORY
    assert 150 * MIB < ending.tree_rss_bytes < 1500 * MIB


@pytest.mark.slow
def test_childrens_memory_counts_and_shared_pages_count_once(tmp_path: Path) -> None:
    share = (
        SAY + "import time\n"
        "hoard = bytearray(b'x') * (60 << 20)\n"
        "pids = []\n"
        "for _ in range(5):\n"
        "    pid = os.fork()\n"
        "    if pid == 0: time.sleep(2.5); os._exit(0)\n"
        "    pids.append(pid)\n"
        "for pid in pids: os.waitpid(pid, 0)\n"
        "say('done')\n"
    )
    bounds = WorkerBounds(memory_bytes=200 * MIB, deadline_s=60)
    (tmp_path / "shared").mkdir()
    (tmp_path / "own").mkdir()
    shared, _ = run(share, tmp_path / "shared", bounds)
    own = share.replace("if pid == 0: ", "if pid == 0: hoard[::4096] = b'y' * len(hoard[::4096]); ")
    _, running = run(own, tmp_path / "own", bounds)
    ending = running.wait()
    assert shared == ["done"]
    assert ending is not None
    assert ending.cause is ExitCause.MEMORY


def test_a_node_is_protected_without_a_memory_limit() -> None:
    node = Node("n", "n", "cpu", (Core(0, (0,)),), ram_bytes=1000 * MIB)
    assert memory_limit(node, 5) == 5
    assert 500 * MIB < memory_limit(node, 0) < 1000 * MIB


@pytest.mark.slow
def test_the_beginning_and_end_of_a_gigabyte_of_output_are_kept(tmp_path: Path) -> None:
    script = (
        SAY + "print('first')\nblock = 'x' * 1048575\n"
        "for _ in range(1024): print(block)\n"
        "print('last'); say('done')"
    )
    lines, running = run(script, tmp_path, WorkerBounds(deadline_s=120))
    log = (tmp_path / "log").read_text()
    assert lines == ["done"]
    assert len(log) < 200_000
    assert log.startswith("first\nx")
    assert log.endswith("x\nlast\n")
    assert "bytes left out" in log
    assert running.log_tail().endswith("last")


def test_short_output_is_kept_whole(tmp_path: Path) -> None:
    run("print('a' * 60000); print('b' * 60000)", tmp_path)
    assert (tmp_path / "log").read_text() == "a" * 60000 + "\n" + "b" * 60000 + "\n"


def test_children_that_outlive_the_worker_are_killed_and_counted(tmp_path: Path) -> None:
    lines, running = run(FAMILY, tmp_path)
    ending = running.wait()
    assert lines == ["up"] * 3
    assert ending is not None
    assert (ending.cause, ending.exit_code, ending.stragglers) == (ExitCause.EXIT, 0, 3)
    assert orphans.find_tree(running.token) == ()


def test_no_process_survives_the_end_of_the_block(tmp_path: Path) -> None:
    with ExitStack() as stack:
        running = start(stack, FAMILY_THAT_STAYS, tmp_path)
        events = running.events()
        assert [next(events) for _ in range(3)] == ["up"] * 3
        assert len(orphans.find_tree(running.token)) == 4
        began = time.monotonic()
    assert time.monotonic() - began < GONE_S
    assert orphans.find_tree(running.token) == ()
    assert not is_alive(running.supervisor_pid)


AGENT = """
import os, sys
from pathlib import Path
from velodrome.agents.isolation.worker_process import WorkerBounds, start_worker
command = [sys.executable, "-I", "-S", "-c", sys.argv[2]]
with start_worker(command, os.environ, WorkerBounds(deadline_s=60), Path(sys.argv[1])) as running:
    print(running.token, running.supervisor_pid, flush=True)
    for line in running.events():
        print(line, flush=True)
"""


@pytest.fixture
def agent(tmp_path: Path) -> "subprocess.Popen[str]":
    """A process that has started a worker with a family; it has printed all it will."""
    process = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(tmp_path), FAMILY_THAT_STAYS],
        stdout=subprocess.PIPE,
        text=True,
    )
    return process


def read_pids(agent: "subprocess.Popen[str]") -> tuple[str, dict[str, int]]:
    assert agent.stdout is not None
    token, supervisor = agent.stdout.readline().split()
    assert [agent.stdout.readline() for _ in range(3)] == ["up\n"] * 3
    guard = parent_of(int(supervisor))
    return token, {"agent": agent.pid, "supervisor": int(supervisor), "guard": guard}


@pytest.mark.parametrize(
    "killed",
    [
        ("agent",),
        ("supervisor",),
        ("guard", "agent"),
        ("agent", "supervisor"),
        ("supervisor", "agent"),
        ("supervisor", "guard"),
    ],
    ids="+".join,
)
def test_no_process_survives_a_sigkill_of(
    killed: tuple[str, ...], agent: "subprocess.Popen[str]"
) -> None:
    token, pids = read_pids(agent)
    assert len(orphans.find_tree(token)) == 4
    for name in killed:
        os.kill(pids[name], signal.SIGKILL)
    assert becomes_true(lambda: orphans.find_tree(token) == ())
    assert becomes_true(lambda: not is_alive(pids["supervisor"]) and not is_alive(pids["guard"]))
    agent.wait(10)


def test_the_next_agent_kills_orphans_when_every_supervisor_was_killed(
    agent: "subprocess.Popen[str]",
) -> None:
    token, pids = read_pids(agent)
    for name in ("guard", "supervisor", "agent"):
        os.kill(pids[name], signal.SIGKILL)
    agent.wait(10)
    assert becomes_true(
        lambda: len(orphans.find_tree(token)) == 3
    )  # the kernel ends the worker itself
    orphans.remove_orphans()
    assert becomes_true(lambda: orphans.find_tree(token) == ())


def test_removing_orphans_spares_the_processes_of_a_living_agent(tmp_path: Path) -> None:
    with ExitStack() as stack, scratch_folder() as scratch:
        running = start(stack, FAMILY_THAT_STAYS, tmp_path)
        events = running.events()
        assert [next(events) for _ in range(3)] == ["up"] * 3
        orphans.remove_orphans()
        assert len(orphans.find_tree(running.token)) == 4
        assert scratch.is_dir()


def test_removing_orphans_removes_the_folders_of_dead_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = (
        "import os\nfrom velodrome.agents.isolation.worker_process import scratch_folder\n"
        "with scratch_folder(): os.kill(os.getpid(), 9)"
    )
    subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False
    )
    assert len(list(tmp_path.iterdir())) == 1
    orphans.remove_orphans()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        script = SAY + "import time\nsay('up'); time.sleep(0.3); say('on')"
        started: list[RunningWorker] = []
        thread = threading.Thread(target=lambda: started.append(start(stack, script, tmp_path)))
        thread.start()
        thread.join()
        assert list(started[0].events()) == ["up", "on"]


def test_a_worker_runs_on_its_own_cpus_in_an_empty_folder(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    script = SAY + "say(repr((os.sched_getaffinity(0), os.listdir('.'), os.getsid(0))))"
    lines, running = run(script, tmp_path, WorkerBounds(cpus=(cpu,)))
    assert lines == [repr(({cpu}, [], running.pid))]


def test_a_command_that_cannot_run_writes_the_reason_to_its_log(tmp_path: Path) -> None:
    with start_worker(["/no/such/python"], {}, WorkerBounds(), tmp_path) as running:
        assert list(running.events()) == []
        ending = running.wait()
    assert ending is not None
    assert ending.exit_code == 127
    assert "velodrome: cannot run /no/such/python" in running.log_tail()


def test_missing_cpus_are_named(tmp_path: Path) -> None:
    _, running = run("pass", tmp_path, WorkerBounds(cpus=(1000,)))
    assert "velodrome: cannot use the CPUs [1000]" in running.log_tail()


def test_an_event_without_an_end_is_refused(tmp_path: Path) -> None:
    script = "import os, sys\nwhile True: os.write(int(sys.argv[-1]), b'x' * 65536)"
    with pytest.raises(EndlessLine):
        run(script, tmp_path)


def test_unread_events_do_not_outlast_the_deadline(tmp_path: Path) -> None:
    script = SAY + "import time\nfor _ in range(5000): say('x')\ntime.sleep(60)"
    began_s = time.monotonic()
    with ExitStack() as stack:
        running = start(stack, script, tmp_path, WorkerBounds(deadline_s=0.5))
        count = 0
        for _ in running.events():
            count += 1
            time.sleep(0.01)  # as a driver would that is slow to take them
    assert 0 < count < 5000
    assert time.monotonic() - began_s < 0.5 + 6


def test_a_full_process_table_raises_start_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(StartFailed, match="no process could be started"):  # noqa: SIM117
        with run_supervised(["true"], {}, tmp_path / "log"):
            pass


def test_a_workers_variables_start_empty_and_the_recipe_wins() -> None:
    inherited = {"PATH": "/bin", "PYTHONHOME": "x", "OMP_NUM_THREADS": "7", "LC_ALL": "C"}
    inherited |= {"LD_LIBRARY_PATH": "/cuda", "RAY_TOKEN": "secret", "OPENBLAS_CORETYPE": "ZEN"}
    unwanted = {"LD_PRELOAD": "/evil.so", "PYTHONUSERBASE": "/evil", "CUDA_HOME": "/cuda"}
    made = worker_variables(
        inherited | unwanted,
        import_path="/velodrome",
        home=Path("/home"),
        temporary=Path("/tmp/t"),
        threads=3,
        recipe=(("MKL_NUM_THREADS", "1"), ("THEANO_FLAGS", "floatX=float32")),
        libraries={"LD_LIBRARY_PATH": "/driver"},
    )
    assert {"PYTHONHOME", "RAY_TOKEN", *unwanted}.isdisjoint(made)
    assert (made["PATH"], made["LC_ALL"], made["LD_LIBRARY_PATH"]) == ("/bin", "C", "/driver")
    assert "OPENBLAS_CORETYPE" not in made  # another program's setting, for another version
    assert (made["OMP_NUM_THREADS"], made["MKL_NUM_THREADS"]) == ("3", "1")
    assert made["CUDA_VISIBLE_DEVICES"] == ""
    assert made["THEANO_FLAGS"] == "floatX=float32"


def test_a_log_tail_holds_no_escape_sequence_and_no_overwritten_line() -> None:
    text = "\x1b[31mred\x1b[0m\x1b]0;title\x07 10%\r 50%\r100%\r\n"
    text += "\x1b]52;c;ZXZpbA==\x1b\\a\x00b\u202ec\tt"
    assert sanitize(text) == "100%\nabc\tt"
    assert strip_controls("  \x1b[31mred\x1b[0m\x07\n\tnext ") == "  red\n\tnext "


def test_a_log_tail_is_short_and_accepts_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\xfe" * 50_000 + b"\nthe end")
    tail = read_log_tail(tmp_path / "log")
    assert len(tail) <= 8192
    assert tail.endswith("the end")
    assert read_log_tail(tmp_path / "none") == ""
