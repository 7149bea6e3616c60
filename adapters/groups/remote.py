"""The followers of a group on other nodes, as its leader sees them."""

import time
from multiprocessing.connection import wait
from typing import Any

from velodrome.adapters.groups.messages import Order, Start
from velodrome.adapters.groups.sockets import connect
from velodrome.adapters.protocol import DISCONNECTED, Failed, Request, monotonic_ns


class RemoteFollower(object):
    """One follower on another node: its two connections.

    Its process belongs to the agent there, which ends it when these are closed.
    """

    shares_clock = False

    def __init__(self, address: str, request: Request, start: Start) -> None:
        self.rank, self._address = start.rank, address
        self.orders = connect(address, request.token)
        self.alarms = connect(address, request.token)
        self.orders.send(start)

    def send(self, order: Order) -> None:
        self.orders.send(order)

    def receive(self) -> Any:
        """Wait for an answer. EOFError or another OSError if the follower is gone."""
        return self.orders.recv()

    def is_stopped(self) -> bool:
        """Return False: only its own node can see it."""
        return False

    def describe_end(self, size: int) -> Failed:
        """Return the event of a follower that is gone without a word."""
        text = "rank {} of {} at {}: the connection is lost"
        reason = text.format(self.rank, size, self._address)
        return Failed(DISCONNECTED, reason, "", monotonic_ns())

    def kill(self) -> None:
        """Close the connections, by which it ends."""
        self.orders.close()
        self.alarms.close()

    def end(self, deadline_s: float) -> None:
        """Wait until it says that it ends, then close. deadline_s: of time.monotonic."""
        wait([self.orders], max(0.0, deadline_s - time.monotonic()))
        self.kill()
