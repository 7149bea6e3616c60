"""One worker, isolated: under a keeper, on its own cores, its events read with a deadline."""

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
from velodrome.agents.isolation.log_tail import log_tail
from velodrome.agents.isolation.pipe_lines import PipeLines
from velodrome.agents.isolation.supervised import Ending, Kept, StartFailed, kept
from velodrome.agents.node import Node

# How much longer than the worker's deadline the keeper may take to end its tree.
BEYOND_DEADLINE_S = 20.0
# How long after the deadline events are still taken: what came before it is read by then.
LATE_S = 2.0
# An empty pipe is looked at so often, since that bounds when the next event can have come.
POLL_S = 0.1
SAFE_SHARE = 0.9


@dataclass(frozen=True)
class Bounds:
    """What a worker may use. Empty cpus: any; 0 bytes: no limit; deadline_s from its start.

    keeper_cpus are where its keeper runs; held_fds are the locks on all this.
    """

    cpus: tuple[int, ...] = ()
    keeper_cpus: tuple[int, ...] = ()
    memory_bytes: int = 0
    deadline_s: float = 900.0
    held_fds: tuple[int, ...] = ()


class Running:
    """A worker that runs, from its start until nothing is left of its tree."""

    def __init__(self, tree: Kept, events: PipeLines, log: Path, deadline_s: float) -> None:
        self._tree = tree
        self._events = events
        self._log = log
        self._deadline = time.monotonic() + deadline_s

    @property
    def pid(self) -> int:
        return self._tree.pid

    @property
    def token(self) -> str:
        """Marks every process of the tree (velodrome.agents.isolation.orphans)."""
        return self._tree.token

    @property
    def keeper_pid(self) -> int:
        return self._tree.keeper_pid

    def events(self) -> Iterator[str]:
        """Each line that the worker writes to its events descriptor, as it comes.

        Ends when nothing is left that could write one: the worker's deadline is the keeper's to
        hold. If the keeper does not, or a flood of events is still being read, this ends by itself
        a little later. EndlessLine.
        """
        poller = select.poll()
        poller.register(self._events.descriptor, select.POLLIN)
        poller.register(self._tree.descriptor, select.POLLIN)
        while not self._events.ended and not self._is_late():
            poller.poll(1000 * POLL_S)
            over = self._tree.ending() is not None
            for line in self._events.take():
                yield line
                if self._is_late():
                    return
            if over:
                return

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline + LATE_S

    @property
    def taken_ns(self) -> tuple[int, int]:
        """Between when the last line of events() was written: see PipeLines."""
        return self._events.after_ns, self._events.by_ns

    def outcome(self, patience_s: float = BEYOND_DEADLINE_S) -> Ending | None:
        """How the worker ended; None if something of its tree is there after so long."""
        return self._tree.ending(patience_s)

    def ended(self) -> Ending | None:
        """outcome(), after it was killed; None if something of its tree cannot be: see left()."""
        return self._tree.ended()

    def left(self) -> tuple[int, ...]:
        """What cannot be killed, and who holds the locks for it."""
        return self._tree.left()

    @property
    def keeper_was_stopped(self) -> bool:
        return self._tree.was_stopped

    def log_tail(self) -> str:
        """Of what it printed. Whole after outcome()."""
        return log_tail(self._log)


@contextmanager
def isolated(
    command: Sequence[str], variables: Mapping[str, str], bounds: Bounds, scratch: Path
) -> Iterator[Running]:
    """Start a worker, the number of its events descriptor appended to the command.

    It runs in an empty folder inside scratch and its log lies there too; whoever made scratch
    removes it. Leaving the block kills whatever is left of its tree.
    """
    place = scratch / "work"
    place.mkdir()
    reading, writing = os.pipe()
    events = PipeLines(reading)
    try:
        with kept(
            [*command, str(writing)],
            variables,
            scratch / "log",
            cwd=place,
            cpus=bounds.cpus,
            keeper_cpus=bounds.keeper_cpus,
            deadline_s=bounds.deadline_s,
            memory_bytes=bounds.memory_bytes,
            worker_fds=(writing,),
            held_fds=bounds.held_fds,
        ) as tree:
            os.close(writing)
            writing = -1
            yield Running(tree, events, scratch / "log", bounds.deadline_s)
    finally:
        events.close()
        if writing >= 0:
            os.close(writing)


def memory_limit(node: Node, asked_bytes: int) -> int:
    """Where nobody asks for a limit, the node's own safety does: a full node kills at random."""
    return asked_bytes or int(SAFE_SHARE * node.ram_bytes)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for one worker, gone afterwards with all that the worker has left there.

    Its name carries whose it is, so that strays.sweep_strays finds those of dead agents.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=orphans.folder_prefix()))
    except OSError as error:
        raise StartFailed(f"there is no room for its files: {error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
