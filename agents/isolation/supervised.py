"""A command under a keeper: its whole tree ends with it, with the `with` block, and with us.

The keeper (velodrome.agents.isolation.supervisor) is a process of its own and outlives this one, by
as long as it takes to kill the tree.
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
SOURCE = str(Path(__file__).parents[3])  # where `velodrome` is found
START_S = 60.0  # it takes 30 ms; a machine that swaps may take long
WAKE_S = 0.5  # so often a keeper is looked at, and woken, while its end is waited for
END_S = 10.0  # a process in an uninterruptible call, as in a driver, may take long to die


class StartFailed(Exception):
    """A worker could not be started, for lack of room, of processes, or of something else here."""


class Cause(StrEnum):
    """Why a tree came to its end."""

    EXIT = "exit"  # the command ended by itself, or was killed by somebody else
    DEADLINE = "deadline"
    MEMORY = "memory"
    RELEASED = "released"  # the `with` block was left
    KEEPER = "keeper"  # the keeper was killed
    STOPPED = "stopped"  # the keeper was stopped for good, and killed in the end


@dataclass(frozen=True)
class Ending:
    """How a tree ended. exit_code and signal: of the command, where it ended by itself.

    stragglers: how many other processes were there when the end began. tree_rss_bytes is the most
    that was seen, only where there was a limit.
    """

    cause: Cause
    exit_code: int | None = None
    signal: int | None = None
    stragglers: int = 0
    tree_rss_bytes: int = 0


class Kept:
    """A command that runs. pid is its own; the keeper's is for tests and messages."""

    def __init__(self, keeper: "subprocess.Popen[bytes]", token: str) -> None:
        assert keeper.stdin and keeper.stdout
        self.token = token
        self.pid = 0
        self.keeper_pid = 0
        self._guard = keeper
        self._lifeline = keeper.stdin
        self._status = PipeLines(os.dup(keeper.stdout.fileno()))
        keeper.stdout.close()
        self._said: list[dict[str, str]] = []
        self._is_over = False
        self._is_forced = False
        self.was_stopped = False  # its keepers, and woken by us

    @property
    def descriptor(self) -> int:
        """Readable when ending() may have news."""
        return self._status.descriptor

    @property
    def gone(self) -> bool:
        """Whether nothing is left of the tree, nor of its keeper."""
        return self._status.ended

    def start(self, spec: Mapping[str, object]) -> None:
        """StartFailed if it does not come up."""
        content = marshal.dumps(dict(spec))
        try:
            self._lifeline.write(len(content).to_bytes(8, "little") + content)
            self._lifeline.flush()
        except BrokenPipeError as error:
            raise StartFailed("the keeper ended at once") from error
        self._listen(time.monotonic() + START_S, lines=1)
        self._wake()
        if not self._said or "pid" not in self._said[0]:
            raise StartFailed(f"the keeper did not start its command within {START_S:.0f} s")
        self.pid = int(self._said[0]["pid"])
        self.keeper_pid = int(self._said[0]["keeper"])

    def ending(self, timeout_s: float = 0.0) -> Ending | None:
        """How the tree ended, once nothing is left of it. None: it is still there."""
        if timeout_s:
            self._await(time.monotonic() + timeout_s)
        self._listen(time.monotonic())
        if not self.gone:
            return None
        if len(self._said) > 1 and self._said[1]["cause"] != Cause.KEEPER:
            return _ending(self._said[1])
        return Ending(Cause.STOPPED if self._is_forced else Cause.KEEPER)

    def ended(self) -> Ending | None:
        """Kill the tree; how it ended. None: something of it cannot be killed, see left()."""
        self._is_over = True
        self._release()
        self._await(time.monotonic() + END_S)
        if not self.gone or len(self._said) < 2:  # all keepers may have been killed
            orphans.kill_marked(self.token)
            self._listen(time.monotonic() + 1.0)
        # A keeper that runs holds the locks as long as there is something left; else it goes, too.
        if not self.gone and any(map(orphans.is_stopped, self._keepers)):
            self._is_forced = True
            orphans.kill_keepers(self.token)
            self._listen(time.monotonic() + 1.0)
        return self.ending()

    def end(self) -> None:
        """ended(), and nothing is kept of it here."""
        if not self._is_over:
            self.ended()
        if self.gone:
            self._guard.wait()
        self._status.close()

    def left(self) -> tuple[int, ...]:
        """The processes that are still there: of the tree, then its keepers, who hold its locks."""
        return () if self.gone else (*self._tree, *self._keepers)

    @property
    def _tree(self) -> tuple[int, ...]:
        return orphans.marked(self.token)

    @property
    def _keepers(self) -> tuple[int, ...]:
        return tuple(pid for pid in (self._guard.pid, self.keeper_pid) if pid)

    def _wake(self) -> None:
        """Keepers that somebody has stopped: only they know how the tree ended, and end it."""
        for pid in self._keepers:
            if orphans.is_stopped(pid):
                self.was_stopped = True
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGCONT)

    def _release(self) -> None:
        try:
            self._lifeline.close()
        except BrokenPipeError:
            return

    def _await(self, deadline: float) -> None:
        """Until nothing is left, or the deadline. A stop shows only when its process next runs."""
        while not self.gone and (left_s := deadline - time.monotonic()) > 0:
            self._wake()
            self._listen(time.monotonic() + min(left_s, WAKE_S))

    def _listen(self, deadline: float, lines: int = 9) -> None:
        """Until the keeper is gone, it has said so many lines, or the deadline is reached."""
        poller = select.poll()
        poller.register(self._status.descriptor, select.POLLIN)
        while not self.gone and len(self._said) < lines:
            left_s = max(0.0, deadline - time.monotonic())
            if not poller.poll(1000 * left_s) and left_s == 0.0:
                return
            self._said += [_words(line) for line in self._status.take()]


@contextmanager
def kept(
    command: Sequence[str],
    environ: Mapping[str, str],
    log: Path,
    *,
    cwd: Path | None = None,
    cpus: Sequence[int] = (),
    keeper_cpus: Sequence[int] = (),
    deadline_s: float = 0.0,
    memory_bytes: int = 0,
    worker_fds: Sequence[int] = (),
    held_fds: Sequence[int] = (),
) -> Iterator[Kept]:
    """Run a command; leaving the block kills it, and whatever it has started, if it still runs.

    log gets the first and the last 64 KiB of stdout and stderr. cpus empty: as inherited.
    worker_fds are for the command, held_fds (locks) stay open until nothing is left of the tree.
    0: no deadline, no limit. The command gets one variable more, strays.VARIABLE. StartFailed.
    """
    token = orphans.new_token()
    spec = {
        "command": [str(part) for part in command],
        "environ": {**environ, orphans.VARIABLE: token},
        "cwd": str(cwd or log.parent),
        "log": str(log),
        "cpus": list(cpus),
        "keeper_cpus": list(keeper_cpus),
        "worker_fds": list(worker_fds),
        "held_fds": list(held_fds),
        "deadline_s": float(deadline_s),
        "memory_bytes": int(memory_bytes),
        "agent": os.getpid(),
    }
    running = Kept(_keeper((*worker_fds, *held_fds), token), token)
    try:
        running.start(spec)
        yield running
    finally:
        running.end()


def _keeper(inherited_fds: Sequence[int], token: str) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", START, SOURCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, orphans.KEEPER: token},
            pass_fds=inherited_fds,
            start_new_session=True,  # neither Ctrl-C nor Ray's end of a process group is for it
        )
    except OSError as error:
        raise StartFailed(f"no process could be started: {error}") from error


def _words(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def _ending(said: Mapping[str, str]) -> Ending:
    status = int(said["status"])
    by_itself = status >= 0
    return Ending(
        cause=Cause(said["cause"]),
        exit_code=os.WEXITSTATUS(status) if by_itself and os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if by_itself and os.WIFSIGNALED(status) else None,
        stragglers=int(said["stragglers"]),
        tree_rss_bytes=int(said["rss_bytes"]),
    )
