"""Attempts that need several nodes at once, and the choice of nodes for them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempts import Attempt, Preparation, RefusedAttempt, Work
from velodrome.scheduler.fleet.node_queue import Course, MayRun, NeedsOf, NodeQueue

Queues = Mapping[str, NodeQueue]


class GroupQueue:
    """Attempts on several nodes, in the plan's order.

    One starts as soon as enough nodes of one type have nothing to do, so it holds none while it
    waits. What is compared runs on the same nodes while these are there.
    """

    def __init__(self, may_run: MayRun, needs_of: NeedsOf) -> None:
        self._may_run = may_run
        self._needs_of = needs_of
        self._waiting: list[Attempt] = []
        self._teams: dict[Course, tuple[str, ...]] = {}
        self._has_changed = False

    def add(self, attempt: Attempt) -> Attempt:
        attempt = replace(attempt, partners=())
        self._waiting.append(attempt)
        self._waiting.sort(key=lambda each: each.order)
        self._has_changed = True
        return attempt

    def note_change(self) -> None:
        """Look again at the next `take`: a node has ended its work, has joined or has left."""
        self._has_changed = bool(self._waiting)

    def list_short(self, queues: Queues) -> tuple[Attempt, ...]:
        """List the attempts for which there are too few nodes, busy or not."""
        return tuple(attempt for attempt in self._waiting if not self._list_teams(attempt, queues))

    def remove(self, attempts: Sequence[Attempt]) -> None:
        gone = set(map(id, attempts))
        self._waiting = [attempt for attempt in self._waiting if id(attempt) not in gone]

    def clear(self) -> list[Attempt]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def take(self, queues: Queues) -> Iterator[Work | RefusedAttempt]:
        """Yield what can start now; the caller marks it as begun on all its nodes at once."""
        if not self._has_changed:
            return
        self._has_changed = False
        for attempt in list(self._waiting):
            yield from self._take_one(attempt, queues)

    def _take_one(self, attempt: Attempt, queues: Queues) -> Iterator[Work | RefusedAttempt]:
        teams = self._list_teams(attempt, queues)
        needs = self._needs_of(attempt)
        sound = [[queue for queue in team if not queue.find_failure(needs)] for team in teams]
        enough = [team for team in sound if len(team) >= attempt.task.nodes]
        if teams and not enough:
            failed = next(queue for queue in teams[0] if queue.find_failure(needs))
            failure = failed.find_failure(needs)
            assert failure
            self.remove([attempt])
            yield RefusedAttempt(replace(attempt, node_id=failed.node.node_id), failure)
            return
        chosen = self._choose(attempt, enough)
        lacking = [queue for queue in chosen if not queue.has_environments(needs)]
        for queue in lacking:
            yield Preparation(queue.node.node_id, queue.list_lacking(needs))
        if chosen and not lacking:
            node_ids = tuple(queue.node.node_id for queue in chosen)
            self._teams[attempt.course] = node_ids
            self.remove([attempt])
            yield replace(attempt, node_id=node_ids[0], partners=node_ids[1:])

    def _list_teams(self, attempt: Attempt, queues: Queues) -> list[list[NodeQueue]]:
        """List the nodes that may run it together, by type, as far as these are enough."""
        by_type: dict[str, list[NodeQueue]] = {}
        for queue in queues.values():
            if self._may_run(attempt, queue.node):
                by_type.setdefault(queue.node.node_type, []).append(queue)
        return [team for team in by_type.values() if len(team) >= attempt.task.nodes]

    def _choose(self, attempt: Attempt, teams: Sequence[list[NodeQueue]]) -> list[NodeQueue]:
        """Choose idle nodes; none if too few are idle now."""
        last = self._teams.get(attempt.course, ())
        present = {queue.node.node_id: queue for team in teams for queue in team}
        if last and all(node_id in present for node_id in last):
            again = [present[node_id] for node_id in last]
            return [] if any(queue.is_busy for queue in again) else again
        for team in sorted(teams, key=lambda team: attempt.node_id not in _list_ids(team)):
            idle = [queue for queue in team if not queue.is_busy]
            if len(idle) >= attempt.task.nodes:
                idle.sort(key=lambda queue: _rank(attempt, queue.node))
                return idle[: attempt.task.nodes]
        return []


def _list_ids(team: Sequence[NodeQueue]) -> list[str]:
    return [queue.node.node_id for queue in team]


def _rank(attempt: Attempt, node: Node) -> tuple[bool, str, str]:
    """Sort key: the planned node first."""
    return (node.node_id != attempt.node_id, node.hostname, node.node_id)
