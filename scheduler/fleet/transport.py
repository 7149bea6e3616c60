"""What the dispatcher asks of the thing that reaches the nodes: Ray, or a simulation of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempts import Attempt, Work


@dataclass(frozen=True)
class Heartbeat:
    """A node that works on something is still there; the first one says that it has begun."""


@dataclass(frozen=True)
class WorkFailed:
    """A piece of work came to nothing, because of the node or of what reaches it.

    of_node: the node itself is gone, or cannot be reached; a Gone follows.
    """

    reason: str
    of_node: bool = False


@dataclass(frozen=True)
class Joined:
    """A node is there."""

    node: Node


@dataclass(frozen=True)
class Gone:
    """A node is there no more."""

    node: Node
    reason: str


@dataclass(frozen=True)
class Unusable:
    """A node is there, but nothing can be measured on it."""

    hostname: str
    reason: str


Change = Joined | Gone | Unusable


class Transport(Protocol):
    """Nodes come and go; work goes to one of them, and what it reports comes back."""

    def now_s(self) -> float:
        """Of a clock that never jumps."""

    def changes(self) -> Iterable[Change]:
        """Since this was last asked."""

    def start(self, work: Work) -> None:
        """On the node of its node_id, which is there; what it reports comes from `reports`."""

    def reports(self, timeout_s: float) -> Sequence[tuple[Work, object]]:
        """What was reported since, in order; waits for the first, but not longer than this.

        The last report of an attempt is its Measurement, that of a preparation is Prepared; either
        may end with Broke instead.
        """

    def abandon(self, work: Work) -> None:
        """End it if it can be reached. Nothing of it is reported any more."""

    def want(self, attempts: Sequence[Attempt]) -> None:
        """No node that is there may run these: ask for some that may, where nodes can be had."""
