"""Interface between the dispatcher and the nodes, implemented by Ray and by simulations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempts import Attempt, Work


@dataclass(frozen=True)
class Heartbeat:
    """A node reports that it is working; the first heartbeat reports that it has started."""


@dataclass(frozen=True)
class WorkFailed:
    """Work ended without a result because of its node or of the transport.

    of_node: the node itself is gone or unreachable; a Gone follows.
    """

    reason: str
    of_node: bool = False


@dataclass(frozen=True)
class Joined:
    """A node joined."""

    node: Node


@dataclass(frozen=True)
class Gone:
    """A node left."""

    node: Node
    reason: str


@dataclass(frozen=True)
class Unusable:
    """A node joined that cannot measure."""

    hostname: str
    reason: str


Change = Joined | Gone | Unusable


class Transport(Protocol):
    """Starts work on nodes and delivers what they report; nodes may join and leave."""

    def read_clock_s(self) -> float:
        """Read a clock that never jumps."""

    def list_changes(self) -> Iterable[Change]:
        """List the nodes that joined or left since the last call."""

    def start(self, work: Work) -> None:
        """Start work on the node of its node_id, which is present.

        `reports` delivers its reports.
        """

    def wait_for_reports(self, timeout_s: float) -> Sequence[tuple[Work, object]]:
        """List the reports since the last call, in order; wait for the first, at most timeout_s.

        An attempt's last report is its Measurement, a preparation's is Prepared, or WorkFailed for
        either.
        """

    def abandon(self, work: Work) -> None:
        """End this work if its node can be reached, and drop its reports."""

    def want(self, attempts: Sequence[Attempt]) -> None:
        """Request nodes for attempts that no present node may run, where there is provisioning."""
