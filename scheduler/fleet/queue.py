"""Which placement a node runs next, and what is run again when a node lets one down.

A pure state machine: the shell around it (velodrome.scheduler.fleet.dispatch) tells it what
happened and asks what to submit. Nothing here knows Ray, files or clocks.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from velodrome.agents.task import Task

MAX_ATTEMPTS = 2


@dataclass(frozen=True)
class Attempt:
    """One try of one (task, repeat) on one node. The first attempt is number 1."""

    task: Task
    repeat: int
    node_id: str
    number: int = 1
    gpu_uuids: tuple[str, ...] = ()  # empty: any of the node's


class Queue:
    """Placements in the order of the plan, each node working through its own.

    An exclusive task has its node to itself; others run side by side as long as their threads fit
    the node's cores.
    """

    def __init__(self, attempts: Iterable[Attempt], cores: dict[str, int]) -> None:
        self._cores = cores
        self._waiting: dict[str, deque[Attempt]] = {node: deque() for node in cores}
        self._running: dict[str, list[Attempt]] = {node: [] for node in cores}
        for attempt in attempts:
            self._waiting[attempt.node_id].append(attempt)

    def take(self) -> tuple[Attempt, ...]:
        """Every attempt that can start now, marked as running."""
        taken = []
        for node in self._waiting:
            while self._waiting[node] and self._has_room(node, self._waiting[node][0]):
                attempt = self._waiting[node].popleft()
                self._running[node].append(attempt)
                taken.append(attempt)
        return tuple(taken)

    def finished(self, attempt: Attempt) -> None:
        """A measurement came back, whatever its status."""
        self._running[attempt.node_id].remove(attempt)

    def lost(self, attempt: Attempt) -> Attempt | None:
        """Nothing came back: the next try, now first in line, or None when tries are used up."""
        self._running[attempt.node_id].remove(attempt)
        if attempt.number >= MAX_ATTEMPTS:
            return None
        again = replace(attempt, number=attempt.number + 1)
        self._waiting[attempt.node_id].appendleft(again)
        return again

    @property
    def is_empty(self) -> bool:
        return not any(self._waiting.values()) and not any(self._running.values())

    def _has_room(self, node: str, attempt: Attempt) -> bool:
        running = self._running[node]
        if not running:
            return True
        if attempt.task.exclusive or any(other.task.exclusive for other in running):
            return False
        used = sum(other.task.threads for other in running)
        return used + attempt.task.threads <= self._cores[node]
