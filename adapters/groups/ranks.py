"""The followers of a group: their start, the answers to orders, and the watch over their lives."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any, Callable, Iterator, List, Optional, Sequence, Union

from velodrome.adapters.groups.messages import END, Order, Start
from velodrome.adapters.groups.remote import RemoteFollower
from velodrome.adapters.protocol import Failed, Request, monotonic_ns
from velodrome.adapters.wire_format import decode, encode_request

END_S = 5.0  # for followers to end by themselves
VERDICT_S = 3.0  # for the watch to learn why a collective operation failed
POLL_S = 0.5  # between looks at whether a follower is stopped
STOPPED_LOOKS = 4  # in a row, before it is given up


class FollowerProcess(object):
    """One follower: its process, and its two connections."""

    shares_clock = True  # CLOCK_MONOTONIC of one node

    def __init__(self, request: Request, rank: int, meeting: str) -> None:
        self.rank = rank
        self.orders, their_orders = Pipe()
        self.alarms, their_alarms = Pipe()
        descriptors = (their_orders.fileno(), their_alarms.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "velodrome.adapters.groups.follower", str(rank), meeting]
            + [str(number) for number in descriptors],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
        )
        their_orders.close()
        their_alarms.close()
        self.orders.send(encode_request(request))

    def send(self, order: Order) -> None:
        self.orders.send(order)

    def receive(self) -> Any:
        """Wait for an answer. EOFError if the follower is gone."""
        return self.orders.recv()

    def is_stopped(self) -> bool:
        """Return True if a signal has stopped the process."""
        try:
            with open("/proc/{}/stat".format(self.process.pid)) as file:
                return file.read().rsplit(")", 1)[1].split()[0] in ("T", "t")
        except (OSError, IndexError):
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, deadline_s: float) -> None:
        """Wait until it has ended by itself, or kill it. deadline_s: of time.monotonic."""
        try:
            self.process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()

    def describe_end(self, size: int) -> Failed:
        """Return the event of a follower that is gone without a word."""
        try:
            status: Optional[int] = self.process.wait(VERDICT_S)
        except subprocess.TimeoutExpired:
            status = None
        ending = "closed its connection"
        if status is not None:
            ending = "exited with status {}".format(status)
            if status < 0:
                ending = "was killed by signal {}".format(-status)
        reason = "rank {} of {} {}".format(self.rank, size, ending)
        return Failed("crashed", reason, "", monotonic_ns())


Rank = Union[FollowerProcess, RemoteFollower]


class Watch(object):
    """A thread that learns of failed, killed and stopped followers, and tells of the first."""

    def __init__(self, ranks: Sequence[Rank], tell: Callable[[Failed], None]) -> None:
        """tell: called in the thread, while the main one may wait for that follower for ever."""
        self._ranks, self._tell = ranks, tell
        self._over = False
        self._looks = dict.fromkeys((rank.rank for rank in ranks), 0)
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Tell of nothing any more."""
        self._over = True

    def await_verdict(self) -> None:
        """Wait until it has told of a failure, if there is one to tell of."""
        self._thread.join(VERDICT_S)

    def _run(self) -> None:
        by_alarms = {rank.alarms: rank for rank in self._ranks}
        while not self._over:
            readable = wait(list(by_alarms), POLL_S)
            failed = None
            if readable:
                failed = self._read(by_alarms[readable[0]])  # type: ignore[index]
            for rank in self._ranks:
                failed = failed or self._look(rank)
            if failed is not None and not self._over:
                self._tell(failed)
                return

    def _read(self, rank: Rank) -> Failed:
        size = len(self._ranks) + 1
        try:
            failed: Failed = decode(rank.alarms.recv())
        except (EOFError, OSError):
            return rank.describe_end(size)
        return failed._replace(reason="rank {} of {}: {}".format(rank.rank, size, failed.reason))

    def _look(self, rank: Rank) -> Optional[Failed]:
        self._looks[rank.rank] = self._looks[rank.rank] + 1 if rank.is_stopped() else 0
        if self._looks[rank.rank] < STOPPED_LOOKS:
            return None
        reason = "rank {} of {} was stopped by a signal".format(rank.rank, len(self._ranks) + 1)
        return Failed("crashed", reason, "", monotonic_ns())


def start_ranks(request: Request, on_node: int, meeting: str, own_address: str) -> List[Rank]:
    """Start all followers on this node, and connect to those on others. PeerUnreachable.

    own_address: where this process listens; the others try to reach it, and one another.
    """
    ranks: List[Rank] = [FollowerProcess(request, rank, meeting) for rank in range(1, on_node)]
    firsts = request.peers[::on_node]  # of each other node
    for rank, address in enumerate(request.peers, on_node):
        others = [own_address] + [each for each in firsts if each != address]
        start = Start(rank, meeting, tuple(others) if address in firsts else ())
        ranks.append(RemoteFollower(address, request, start))
    return ranks


def kill_ranks(ranks: Sequence[Rank]) -> None:
    """Kill all followers: what they wait for will not come."""
    for rank in ranks:
        rank.kill()


def end_ranks(ranks: Sequence[Rank]) -> None:
    """Tell followers to end, and kill those that do not."""
    for rank in ranks:
        try:
            rank.send(Order(END))
        except OSError:
            pass
    deadline = time.monotonic() + END_S
    for rank in ranks:
        rank.end(deadline)


@contextlib.contextmanager
def meeting_place() -> Iterator[str]:
    """Yield an address by which the processes of one node find each other, and no other group's."""
    folder = tempfile.mkdtemp(prefix="group-")  # new: what an earlier group left would mislead
    try:
        yield "file://" + os.path.join(folder, "meeting")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
