"""A command under a supervisor, whose whole process tree ends with the `with` block.

The tree also ends if this process dies. The supervisor (velodrome.agents.isolation.supervisor) is a
separate process, and outlives this one until the tree is killed.
"""

import marshal
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from velodrome.agents.isolation import orphans
from velodrome.agents.isolation.pipe_lines import PipeLines

START = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from velodrome.agents.isolation.supervisor import main; main()"
)
SOURCE = str(Path(__file__).parents[3])  # to import `velodrome` from
START_S = 60.0  # usually 30 ms, much more on a machine that swaps
WAKE_S = 0.5  # interval at which a stopped supervisor is woken while its end is awaited
END_S = 10.0  # a process in an uninterruptible call, as in a driver, dies late


class StartFailed(Exception):
    """A worker could not be started: no disk space, no free processes, or another local cause."""


class ExitCause(StrEnum):
    """The cause of a tree's end."""

    EXIT = "exit"  # the command ended by itself, or another process killed it
    DEADLINE = "deadline"
    MEMORY = "memory"
    RELEASED = "released"  # the `with` block was left
    SUPERVISOR = "supervisor"  # the supervisor was killed
    WORKER_STOPPED = "worker_stopped"  # a signal stopped the command, and it was killed
    STOPPED = "stopped"  # the supervisor was stopped, did not wake up, and was killed


@dataclass(frozen=True)
class TreeExit:
    """The exit of a tree. exit_code and signal: of the command, if it ended by itself.

    stragglers: the number of other processes alive when the end began. tree_rss_bytes: the highest
    value seen, only if there was a limit.
    """

    cause: ExitCause
    exit_code: int | None = None
    signal: int | None = None
    stragglers: int = 0
    tree_rss_bytes: int = 0


class SupervisedProcess:
    """A running command. pid is the command's own; supervisor_pid is for tests and messages."""

    def __init__(self, supervisor: "subprocess.Popen[bytes]", token: str) -> None:
        assert supervisor.stdin and supervisor.stdout
        self.token = token
        self.pid = 0
        self.supervisor_pid = 0
        self._guard = supervisor
        self._lifeline = supervisor.stdin
        self._status = PipeLines(os.dup(supervisor.stdout.fileno()))
        supervisor.stdout.close()
        self._reports: list[dict[str, str]] = []
        self._was_killed = False
        self._was_forced = False
        self.supervisor_was_stopped = False  # then this process woke it

    @property
    def descriptor(self) -> int:
        """Readable when poll() may have news."""
        return self._status.descriptor

    @property
    def is_gone(self) -> bool:
        """True if nothing is left of the tree and its supervisors."""
        return self._status.at_end

    def start(self, spec: Mapping[str, object]) -> None:
        """Start the command. StartFailed if it does not come up."""
        content = marshal.dumps(dict(spec))
        try:
            self._lifeline.write(len(content).to_bytes(8, "little") + content)
            self._lifeline.flush()
        except BrokenPipeError as error:
            raise StartFailed("the supervisor ended at once") from error
        self._listen(time.monotonic() + START_S, lines=1)
        self._wake()
        if not self._reports or "pid" not in self._reports[0]:
            raise StartFailed(f"the supervisor did not start its command within {START_S:.0f} s")
        self.pid = int(self._reports[0]["pid"])
        self.supervisor_pid = int(self._reports[0]["supervisor"])

    def poll(self, timeout_s: float = 0.0) -> TreeExit | None:
        """Return how the tree ended; None if something of it is still alive after timeout_s."""
        if timeout_s:
            self._await(time.monotonic() + timeout_s)
        self._listen(time.monotonic())
        if not self.is_gone:
            return None
        if len(self._reports) > 1 and self._reports[1]["cause"] != ExitCause.SUPERVISOR:
            return _parse_exit(self._reports[1])
        return TreeExit(ExitCause.STOPPED if self._was_forced else ExitCause.SUPERVISOR)

    def kill(self) -> TreeExit | None:
        """Kill the tree and return how it ended; None if survivors() cannot be killed."""
        self._was_killed = True
        self._release()
        self._await(time.monotonic() + END_S)
        if not self.is_gone or len(self._reports) < 2:  # all supervisors may have been killed
            orphans.kill_tree(self.token)
            self._listen(time.monotonic() + 1.0)
        # A running supervisor keeps the locks while something is left; a stopped one is killed.
        if not self.is_gone and any(map(orphans.is_stopped, self._supervisors)):
            self._was_forced = True
            orphans.kill_supervisors(self.token)
            self._listen(time.monotonic() + 1.0)
        return self.poll()

    def close(self) -> None:
        """Kill the tree and release all resources."""
        if not self._was_killed:
            self.kill()
        if self.is_gone:
            self._guard.wait()
        self._status.close()

    def survivors(self) -> tuple[int, ...]:
        """Return the pids still alive: the tree's, then the supervisors that hold its locks."""
        return () if self.is_gone else (*self._tree, *self._supervisors)

    @property
    def _tree(self) -> tuple[int, ...]:
        return orphans.find_tree(self.token)

    @property
    def _supervisors(self) -> tuple[int, ...]:
        return tuple(pid for pid in (self._guard.pid, self.supervisor_pid) if pid)

    def _wake(self) -> None:
        """Continue stopped supervisors: only they know how the tree ended, and can end it."""
        for pid in self._supervisors:
            if orphans.is_stopped(pid):
                self.supervisor_was_stopped = True
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGCONT)

    def _release(self) -> None:
        try:
            self._lifeline.close()
        except BrokenPipeError:
            return

    def _await(self, deadline: float) -> None:
        """Wait until nothing is left, or the deadline.

        A stop shows only when its process next runs.
        """
        while not self.is_gone and (left_s := deadline - time.monotonic()) > 0:
            self._wake()
            self._listen(time.monotonic() + min(left_s, WAKE_S))

    def _listen(self, deadline: float, lines: int = 9) -> None:
        """Read until the supervisor is gone, has sent so many lines, or the deadline."""
        poller = select.poll()
        poller.register(self._status.descriptor, select.POLLIN)
        while not self.is_gone and len(self._reports) < lines:
            left_s = max(0.0, deadline - time.monotonic())
            if not poller.poll(1000 * left_s) and left_s == 0.0:
                return
            self._reports += [_parse_words(line) for line in self._status.take()]


@contextmanager
def run_supervised(
    command: Sequence[str],
    environ: Mapping[str, str],
    log: Path,
    *,
    cwd: Path | None = None,
    cpus: Sequence[int] = (),
    supervisor_cpus: Sequence[int] = (),
    deadline_s: float = 0.0,
    memory_bytes: int = 0,
    worker_fds: Sequence[int] = (),
    held_fds: Sequence[int] = (),
) -> Iterator[SupervisedProcess]:
    """Run a command; leaving the block kills it and everything it started.

    log gets the first and the last 64 KiB of stdout and stderr. Empty cpus: inherited. worker_fds
    are for the command; held_fds (locks) stay open until nothing is left of the tree. 0: no
    deadline, no limit. The command gets one extra variable, orphans.VARIABLE. StartFailed.
    """
    token = orphans.new_token()
    spec = {
        "command": [str(part) for part in command],
        "environ": {**environ, orphans.VARIABLE: token},
        "cwd": str(cwd or log.parent),
        "log": str(log),
        "cpus": list(cpus),
        "supervisor_cpus": list(supervisor_cpus),
        "worker_fds": list(worker_fds),
        "held_fds": list(held_fds),
        "deadline_s": float(deadline_s),
        "memory_bytes": int(memory_bytes),
        "agent": os.getpid(),
    }
    running = SupervisedProcess(_start_supervisor((*worker_fds, *held_fds), token), token)
    try:
        running.start(spec)
        yield running
    finally:
        running.close()


def _start_supervisor(inherited_fds: Sequence[int], token: str) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", START, SOURCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, orphans.SUPERVISOR: token},
            pass_fds=inherited_fds,
            start_new_session=True,  # Ctrl-C and Ray's kill of a process group must not reach it
        )
    except OSError as error:
        raise StartFailed(f"no process could be started: {error}") from error


def _parse_words(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def _parse_exit(words: Mapping[str, str]) -> TreeExit:
    status = int(words["status"])
    by_itself = status >= 0
    return TreeExit(
        cause=ExitCause(words["cause"]),
        exit_code=os.WEXITSTATUS(status) if by_itself and os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if by_itself and os.WIFSIGNALED(status) else None,
        stragglers=int(words["stragglers"]),
        tree_rss_bytes=int(words["rss_bytes"]),
    )
