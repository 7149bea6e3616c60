"""Runs of tools such as uv, pip or an interpreter: output kept, no process left behind."""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL_LINES = 200

# PR_SET_PDEATHSIG is set by the child itself: preexec_fn is unsafe in a process with threads, and
# Ray's workers have many. The signal survives exec. A parent that died before prctl is seen by
# getppid. It follows the thread that started the child, which waits here until the child is gone.
_DIE_WITH_PARENT = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"
    "if os.getppid() == int(sys.argv[1]): os.execvp(sys.argv[2], sys.argv[2:])\n"
)


@dataclass(frozen=True)
class ToolRun:
    """The end of a tool. output: the last lines of its stdout and stderr."""

    exit_status: int
    output: str
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        return self.exit_status == 0 and not self.timed_out


def run_tool(
    command: Sequence[str | os.PathLike[str]],
    *,
    environ: Mapping[str, str],
    cwd: Path,
    deadline_s: float,
    on_line: Callable[[str], None] = lambda line: None,
    pass_fds: Sequence[int] = (),
) -> ToolRun:
    """Run a command in its own session, and kill it all at the deadline or on any error.

    It is also killed if this process dies by any signal. A missing program ends with status 127, as
    in a shell.
    """
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environ),
        cwd=cwd,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
    )
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _kill_group(child.pid)

    timer = threading.Timer(deadline_s, expire)
    timer.daemon = True
    timer.start()
    try:
        output = _follow(child, on_line)
        exit_status = child.wait()
    finally:
        timer.cancel()
        _kill_group(child.pid)
        child.wait()
    missing = exit_status == 1 and "FileNotFoundError" in output and "execvp" in output
    return ToolRun(127 if missing else exit_status, output, expired.is_set())


def _follow(child: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> str:
    """Read all lines until the last writer closes the pipe; return the last ones."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    assert child.stdout is not None
    with child.stdout as lines:
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            tail.append(text)
            on_line(text)
    return "\n".join(tail)


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
