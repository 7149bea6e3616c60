"""Work queue: assigns attempts to nodes, and moves them when a node fails.

A pure state machine: velodrome.scheduler.fleet.dispatch tells it what happened and asks what to
start. It knows neither Ray nor files nor clocks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempts import (
    Attempt,
    EnvironmentNeed,
    EnvironmentOutcome,
    Preparation,
    RefusedAttempt,
    Work,
)
from velodrome.scheduler.fleet.group_queue import GroupQueue
from velodrome.scheduler.fleet.node_queue import MayRun, NeedsOf, NodeQueue

MAX_TRIES = 2
MOST_BUILDERS = 2


class WorkQueue:
    """Attempts in the plan's order, in a queue per node.

    What is compared runs on one node: attempts of one course stay and move together. An idle node
    takes the next course that another node has not begun. Attempts that no present node may run are
    parked until one joins. An attempt whose environment cannot be built on its node goes to a node
    that has it, or else to one more node that has not tried.
    """

    def __init__(
        self,
        attempts: Iterable[Attempt],
        nodes: Iterable[Node],
        may_run: MayRun,
        needs_of: NeedsOf = lambda attempt: (),
        max_tries: int = MAX_TRIES,
    ) -> None:
        self._may_run = may_run
        self._needs_of = needs_of
        self._max_tries = max_tries
        self._queues = {node.node_id: NodeQueue(node) for node in nodes}
        self._groups = GroupQueue(may_run, needs_of)
        self._parked: list[Attempt] = []
        self._listed_parked: tuple[Attempt, ...] | None = None
        self._joined_later: set[str] = set()
        self._failed: dict[EnvironmentNeed, set[str]] = {}  # on which nodes
        self._second: dict[tuple[EnvironmentNeed, ...], str] = {}  # the second node to build it
        self._left = 0
        self._to_check = dict.fromkeys(self._queues)  # in this order
        self._idle: dict[str, None] = {}  # checked, without work
        for attempt in attempts:
            self._left += 1
            self._place(attempt)

    # Starting work

    def take(self) -> Iterator[Work | RefusedAttempt]:
        """Yield everything that can start now and mark it as begun.

        A refused attempt is finished.
        """
        while self._to_check:
            queue = self._queues[self._pop_node_to_check()]
            while (work := self._choose_next(queue)) is not None:
                if isinstance(work, RefusedAttempt):
                    self._left -= 1
                else:
                    queue.mark_started(work)
                yield work
        for work in self._groups.take(self._queues):
            if isinstance(work, RefusedAttempt):
                self._left -= 1
            else:
                for node_id in work.node_ids:
                    self._queues[node_id].mark_started(work)
            yield work

    @property
    def is_empty(self) -> bool:
        return self._left == 0

    @property
    def is_waiting_for_nodes(self) -> bool:
        """Return True if nothing runs and everything left is parked."""
        return bool(self._left) and not any(queue.is_busy for queue in self._queues.values())

    def list_parked(self) -> tuple[Attempt, ...]:
        """List parked attempts; the same tuple as before if nothing has changed."""
        if self._listed_parked is None:
            self._listed_parked = (*self._parked, *self._groups.list_short(self._queues))
        return self._listed_parked

    # Recording events

    def record_finished(self, attempt: Attempt) -> None:
        """Record that a measurement came back, whatever its status."""
        self._mark_ended(attempt)
        self._left -= 1

    def record_lost(self, attempt: Attempt) -> Attempt | None:
        """Record that an attempt gave no result; return the next try, None when no tries are left.

        It stays on its node, if that is present, with the rest of its course.
        """
        self._mark_ended(attempt)
        if attempt.tries >= self._max_tries:
            self._left -= 1
            return None
        again = replace(attempt, number=attempt.number + 1, tries=attempt.tries + 1, order=-1)
        return self._place(again)

    def put_back(self, work: Work) -> None:
        """Put back work that was handed over but not begun; this does not count as a try."""
        self._mark_ended(work)
        if isinstance(work, Attempt):
            self._place(work)

    def record_prepared(
        self, preparation: Preparation, outcomes: Iterable[EnvironmentOutcome]
    ) -> None:
        """Record a preparation's outcomes.

        Attempts that need a failed one are refused in their turn.
        """
        if queue := self._queues.get(preparation.node_id):
            self._mark_prepared(queue, preparation, outcomes)
            self._to_check[preparation.node_id] = None

    def record_interrupted(self, preparation: Preparation, reason: str) -> None:
        """Record an interrupted preparation: repeat it, or fail it when no tries are left."""
        self._mark_ended(preparation)
        queue = self._queues.get(preparation.node_id)
        if queue and queue.count_interruption() >= self._max_tries:
            failed = [EnvironmentOutcome(need, reason) for need in preparation.needs]
            self._mark_prepared(queue, preparation, failed)

    def add_node(self, node: Node) -> None:
        """Add a node and give it parked attempts that it may run."""
        if node.node_id in self._queues:
            return
        self._queues[node.node_id] = NodeQueue(node)
        self._joined_later.add(node.node_id)
        self._to_check[node.node_id] = None
        self._note_nodes()
        for attempt in self._clear_parked():
            self._place(attempt)

    def remove_node(self, node_id: str) -> tuple[Work, ...]:
        """Remove a node; return its begun work, for each of which call `lost` or `unprepared`."""
        queue = self._queues.pop(node_id, None)
        if queue is None:
            return ()
        for failed in self._failed.values():
            failed.discard(node_id)
        self._to_check.pop(node_id, None)
        self._idle.pop(node_id, None)
        self._note_nodes()
        for attempt in queue.list_waiting():
            self._place(attempt)
        return queue.started

    def give_up(self) -> tuple[Attempt, ...]:
        """Drop and return the parked attempts; they are finished."""
        given_up = self.list_parked()
        self._clear_parked()
        self._groups.remove(given_up)
        self._left -= len(given_up)
        return given_up

    def withdraw(self) -> tuple[Attempt, ...]:
        """Drop and return all attempts that have not begun: their time is over."""
        waiting = [*self._clear_parked(), *self._groups.clear()]
        for queue in self._queues.values():
            waiting += [queue.pop() for _ in range(queue.length)]
        self._left -= len(waiting)
        return tuple(sorted(waiting, key=lambda attempt: attempt.order))

    # Choosing queues

    def _pop_node_to_check(self) -> str:
        name = next(iter(self._to_check))
        del self._to_check[name]
        return name

    def _clear_parked(self) -> list[Attempt]:
        """Return the parked attempts on one node and park none."""
        parked, self._parked = self._parked, []
        self._listed_parked = None
        return parked

    def _note_nodes(self) -> None:
        """Note that a node has joined or left."""
        self._groups.note_change()
        self._listed_parked = None

    def _place(self, attempt: Attempt) -> Attempt:
        """Add an attempt to its own node's queue, else its course's, else the shortest suitable."""
        if attempt.task.nodes > 1:
            self._listed_parked = None
            return self._groups.add(attempt)
        queue = self._find_own_queue(attempt) or self._choose_queue(attempt)
        if queue is None:
            self._parked.append(attempt)
            self._listed_parked = None
            return attempt
        return self._add(attempt, queue)

    def _add(self, attempt: Attempt, queue: NodeQueue) -> Attempt:
        if attempt.node_id != queue.node.node_id:
            attempt = replace(attempt, node_id=queue.node.node_id)
        queue.add(attempt)
        # The node has work, which an idle node may take over.
        self._to_check[queue.node.node_id] = None
        self._to_check |= self._idle
        self._idle.clear()
        return attempt

    def _find_own_queue(self, attempt: Attempt) -> NodeQueue | None:
        """Return the planned node's queue, unless another machine has joined under that id."""
        queue = self._queues.get(attempt.node_id)
        is_as_planned = attempt.node_id not in self._joined_later or attempt.constraint.is_one_node
        if queue is None or is_as_planned or self._may_run(attempt, queue.node):
            return queue
        return None

    def _choose_queue(self, attempt: Attempt) -> NodeQueue | None:
        if attempt.constraint.is_one_node:
            return None
        able = [queue for queue in self._queues.values() if self._may_run(attempt, queue.node)]
        with_course = [queue for queue in able if queue.has(attempt.course)]
        return min(with_course or able, key=lambda queue: queue.length, default=None)

    def _choose_next(self, queue: NodeQueue) -> Work | RefusedAttempt | None:
        if not queue.is_busy:
            self._take_over(queue)
        if not queue.is_busy:
            self._idle[queue.node.node_id] = None
        has_given = False
        while attempt := queue.find_next():
            needs = self._needs_of(attempt)
            failure = queue.find_failure(needs)
            if failure is None:
                if queue.has_environments(needs):
                    return queue.pop()
                return None if queue.started else queue.make_preparation(self._needs_of)
            other = self._find_queue(needs, queue.pop())
            if other is None:
                return RefusedAttempt(attempt, failure)
            self._add(attempt, other)
            has_given = True
        return self._choose_next(queue) if has_given else None  # it may take over other work

    def _find_queue(self, needs: tuple[EnvironmentNeed, ...], attempt: Attempt) -> NodeQueue | None:
        """Find a queue whose node has the environment, else the one node that may build it."""
        if attempt.constraint.is_one_node:
            return None
        able = [
            queue
            for queue in self._queues.values()
            if not queue.find_failure(needs) and self._may_run(attempt, queue.node)
        ]
        if standing := [queue for queue in able if queue.has_environments(needs)]:
            return min(standing, key=lambda queue: queue.length)
        if not able or self._is_hopeless(needs):
            return None
        if self._second.get(needs) not in self._queues:
            self._second[needs] = min(able, key=lambda queue: queue.length).node.node_id
        return next((queue for queue in able if queue.node.node_id == self._second[needs]), None)

    def _take_over(self, queue: NodeQueue) -> None:
        """Take the next course not begun from the longest queue that has one for this node."""
        for other in sorted(self._queues.values(), key=lambda each: -each.length):
            if not other.length:
                return
            for course in other.list_movable():
                attempts = other.list_attempts(course)
                if all(self._can_move(attempt, queue) for attempt in attempts):
                    other.give_away(course)
                    for attempt in attempts:
                        queue.add(replace(attempt, node_id=queue.node.node_id))
                    return

    def _can_move(self, attempt: Attempt, queue: NodeQueue) -> bool:
        needs = self._needs_of(attempt)
        if attempt.constraint.is_one_node or queue.find_failure(needs):
            return False
        return (queue.has_environments(needs) or not self._is_hopeless(needs)) and self._may_run(
            attempt, queue.node
        )

    def _is_hopeless(self, needs: tuple[EnvironmentNeed, ...]) -> bool:
        """Return True if two nodes failed to build it: a third would fail, too."""
        return any(len(self._failed.get(need, ())) >= MOST_BUILDERS for need in needs)

    def _mark_prepared(
        self, queue: NodeQueue, preparation: Preparation, outcomes: Iterable[EnvironmentOutcome]
    ) -> None:
        done = tuple(outcomes)
        queue.mark_prepared(preparation, done)
        self._groups.note_change()
        for outcome in done:
            if not outcome.ready:
                self._failed.setdefault(outcome.need, set()).add(queue.node.node_id)

    def _mark_ended(self, work: Work) -> None:
        for node_id in work.node_ids:
            if queue := self._queues.get(node_id):
                queue.mark_ended(work)
                self._to_check[node_id] = None
        self._groups.note_change()
