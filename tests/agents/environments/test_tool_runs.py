"""Running a tool to its end; it never outlives the process that started it."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from velodrome.agents.environments.tool_runs import TAIL_LINES, run_tool

SRC = Path(__file__).parents[3] / "src"
# Starts a child, prints both process ids, then waits for ever.
FAMILY = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(os.getpid(), child.pid, flush=True)
child.wait()
"""


def run(code: str, deadline_s: float = 60, **more):
    command = [sys.executable, "-c", code]
    return run_tool(command, environ=os.environ, cwd=Path("/"), deadline_s=deadline_s, **more)


def test_both_streams_are_read_line_by_line_in_order() -> None:
    lines: list[str] = []
    done = run("import os; [os.write(n, b'line %d\\n' % n) for n in (1, 2)]", on_line=lines.append)
    assert lines == ["line 1", "line 2"] and done.output == "line 1\nline 2" and done.ok


def test_the_exit_status_is_returned() -> None:
    done = run("raise SystemExit(3)")
    assert done.exit_status == 3 and not done.ok and not done.timed_out


def test_only_the_end_of_long_output_is_kept() -> None:
    done = run("for n in range(20000): print(n)")
    lines = done.output.splitlines()
    assert len(lines) == TAIL_LINES and lines[-1] == "19999"


def test_output_that_is_not_text_is_accepted() -> None:
    assert run("import os; os.write(1, b'\\xff\\xfe\\n')").ok


def test_a_program_that_does_not_exist_is_status_127() -> None:
    done = run_tool(["/nowhere/tool"], environ=os.environ, cwd=Path("/"), deadline_s=60)
    assert done.exit_status == 127


def test_at_the_deadline_the_tool_and_its_children_are_killed() -> None:
    lines: list[str] = []
    done = run(FAMILY, deadline_s=1, on_line=lines.append)
    assert done.timed_out and not done.ok
    assert all(has_ended(int(pid)) for pid in lines[0].split())


def test_a_callback_that_raises_ends_the_tool() -> None:
    lines: list[str] = []

    def refuse(line: str) -> None:
        lines.append(line)
        raise KeyError(line)

    try:
        run(FAMILY, on_line=refuse)
    except KeyError:
        assert all(has_ended(int(pid)) for pid in lines[0].split())
    else:
        raise AssertionError("what the listener raised was lost")


def test_a_tool_dies_with_the_process_that_started_it() -> None:
    starter = (
        "import os, sys; from pathlib import Path\n"
        "from velodrome.agents.environments.tool_runs import run_tool\n"
        "code = 'import os, signal; print(os.getpid(), flush=True); signal.pause()'\n"
        "tell = lambda line: print(line, flush=True)\n"
        "command = [sys.executable, '-c', code]\n"
        "run_tool(command, environ=os.environ, cwd=Path('/'), deadline_s=60, on_line=tell)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-c", starter]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as child:
        assert child.stdout
        tool = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert has_ended(tool)


def has_ended(pid: int) -> bool:
    """Return True if the process ends within 2 s. A zombie counts as ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 2)[0])
    finally:
        os.close(descriptor)
