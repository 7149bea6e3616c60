"""A worker under a supervisor, on its own cores, whose events are read with a deadline."""

import os
import select
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from velodrome.agents.isolation import orphans
from velodrome.agents.isolation.pipe_lines import PipeLines
from velodrome.agents.isolation.supervised import (
    StartFailed,
    SupervisedProcess,
    TreeExit,
    run_supervised,
)
from velodrome.agents.node import Node
from velodrome.agents.safe_text import read_log_tail

# Extra time after the worker's deadline for the supervisor to end its tree.
BEYOND_DEADLINE_S = 20.0
# Events are read for this long after the deadline: enough for all written before it.
LATE_S = 2.0
# Polling interval of an empty pipe: it bounds the arrival time of the next event.
POLL_S = 0.1
SAFE_SHARE = 0.9


@dataclass(frozen=True)
class WorkerBounds:
    """Resources that a worker may use, and its deadline.

    cpus_by_device: those of each of several devices' processes, as in Request.

    Empty cpus: any; 0 bytes: no limit; deadline_s counts from its start. supervisor_cpus: where its
    supervisor runs; held_fds: the locks on all this.
    """

    cpus: tuple[int, ...] = ()
    cpus_by_device: tuple[str, ...] = ()
    supervisor_cpus: tuple[int, ...] = ()
    memory_bytes: int = 0
    deadline_s: float = 900.0
    held_fds: tuple[int, ...] = ()


class RunningWorker:
    """A worker from its start until nothing is left of its tree."""

    def __init__(
        self, tree: SupervisedProcess, events: PipeLines, log: Path, deadline_s: float
    ) -> None:
        self._tree = tree
        self._events = events
        self._log = log
        self._deadline = time.monotonic() + deadline_s

    @property
    def pid(self) -> int:
        return self._tree.pid

    @property
    def token(self) -> str:
        """Token of every process of the tree (velodrome.agents.isolation.orphans)."""
        return self._tree.token

    @property
    def supervisor_pid(self) -> int:
        return self._tree.supervisor_pid

    def events(self) -> Iterator[str]:
        """Yield each line that the worker writes to its events descriptor.

        Ends when no writer is left: the supervisor enforces the worker's deadline. If it does not,
        or if events are still pouring in, this ends a little later. EndlessLine.
        """
        poller = select.poll()
        poller.register(self._events.descriptor, select.POLLIN)
        poller.register(self._tree.descriptor, select.POLLIN)
        while not self._events.at_end and not self._is_late():
            poller.poll(1000 * POLL_S)
            over = self._tree.poll() is not None
            for line in self._events.take():
                yield line
                if self._is_late():
                    return
            if over:
                return

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline + LATE_S

    @property
    def arrival_ns(self) -> tuple[int, int]:
        """The times between which the last line of events() was written: see PipeLines."""
        return self._events.after_ns, self._events.by_ns

    def wait(self, patience_s: float = BEYOND_DEADLINE_S) -> TreeExit | None:
        """Wait for the worker's end; None if something of its tree is alive after that long."""
        return self._tree.poll(patience_s)

    def kill(self) -> TreeExit | None:
        """Kill the tree and return how it ended; None if survivors() cannot be killed."""
        return self._tree.kill()

    def survivors(self) -> tuple[int, ...]:
        """Return the pids that cannot be killed, and of the supervisors that hold its locks."""
        return self._tree.survivors()

    @property
    def supervisor_was_stopped(self) -> bool:
        return self._tree.supervisor_was_stopped

    def log_tail(self) -> str:
        """Return the end of its output; complete after wait()."""
        return read_log_tail(self._log)


@contextmanager
def start_worker(
    command: Sequence[str], variables: Mapping[str, str], bounds: WorkerBounds, scratch: Path
) -> Iterator[RunningWorker]:
    """Start a worker; the number of its events descriptor is appended to the command.

    It runs in an empty folder inside scratch, which also gets its log; the caller removes scratch.
    Leaving the block kills everything left of its tree.
    """
    place = scratch / "work"
    place.mkdir()
    reading, writing = os.pipe()
    events = PipeLines(reading)
    try:
        with run_supervised(
            [*command, str(writing)],
            variables,
            scratch / "log",
            cwd=place,
            cpus=bounds.cpus,
            supervisor_cpus=bounds.supervisor_cpus,
            deadline_s=bounds.deadline_s,
            memory_bytes=bounds.memory_bytes,
            worker_fds=(writing,),
            held_fds=bounds.held_fds,
        ) as tree:
            os.close(writing)
            writing = -1
            yield RunningWorker(tree, events, scratch / "log", bounds.deadline_s)
    finally:
        events.close()
        if writing >= 0:
            os.close(writing)


def memory_limit(node: Node, asked_bytes: int) -> int:
    """Return the requested limit, or else a safe share of the node: a full node kills at random."""
    return asked_bytes or int(SAFE_SHARE * node.ram_bytes)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create a folder for one worker, and remove it afterwards with all its content.

    Its name carries its agent, so that orphans.remove_orphans finds those of dead agents.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=orphans.folder_prefix()))
    except OSError as error:
        raise StartFailed(f"its files cannot be created: {error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
