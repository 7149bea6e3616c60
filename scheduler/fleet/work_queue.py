"""Work queue: assigns attempts to nodes, and moves them when a node fails.

A pure state machine: velodrome.scheduler.fleet.dispatch tells it what happened and asks what to
start. It knows neither Ray nor files nor clocks.
"""

from collections.abc import Callable, Iterable, Iterator
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
from velodrome.scheduler.fleet.node_queue import NodeQueue

MAX_TRIES = 2
MOST_BUILDERS = 2

MayRun = Callable[[Attempt, Node], bool]
NeedsOf = Callable[[Attempt], tuple[EnvironmentNeed, ...]]


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
        self._lines = {node.node_id: NodeQueue(node) for node in nodes}
        self._parked: list[Attempt] = []
        self._parked_as_told: tuple[Attempt, ...] | None = None
        self._came_later: set[str] = set()
        self._failed: dict[EnvironmentNeed, set[str]] = {}  # on which nodes
        self._second: dict[tuple[EnvironmentNeed, ...], str] = {}  # the node that is tried, too
        self._left = 0
        self._to_look_at = dict.fromkeys(self._lines)  # in this order
        self._without_work: dict[str, None] = {}  # looked at in vain
        for attempt in attempts:
            self._left += 1
            self._place(attempt)

    # What there is to do

    def take(self) -> Iterator[Work | RefusedAttempt]:
        """Yield everything that can start now and mark it as begun.

        A refused attempt is finished.
        """
        while self._to_look_at:
            line = self._lines[self._first_to_look_at()]
            while (work := self._next(line)) is not None:
                if isinstance(work, RefusedAttempt):
                    self._left -= 1
                else:
                    line.began(work)
                yield work

    @property
    def is_empty(self) -> bool:
        return self._left == 0

    @property
    def is_waiting_for_nodes(self) -> bool:
        """Return True if nothing runs and everything left is parked."""
        return bool(self._left) and not any(line.is_busy for line in self._lines.values())

    def parked(self) -> tuple[Attempt, ...]:
        """List parked attempts; the same tuple as before if nothing has changed."""
        if self._parked_as_told is None:
            self._parked_as_told = tuple(self._parked)
        return self._parked_as_told

    # What happened

    def finished(self, attempt: Attempt) -> None:
        """Record that a measurement came back, whatever its status."""
        self._ended(attempt)
        self._left -= 1

    def lost(self, attempt: Attempt) -> Attempt | None:
        """Record that an attempt gave no result; return the next try, None when no tries are left.

        It stays on its node, if that is present, with the rest of its course.
        """
        self._ended(attempt)
        if attempt.tries >= self._max_tries:
            self._left -= 1
            return None
        again = replace(attempt, number=attempt.number + 1, tries=attempt.tries + 1, order=-1)
        return self._place(again)

    def put_back(self, work: Work) -> None:
        """Put back work that was handed over but not begun; this does not count as a try."""
        self._ended(work)
        if isinstance(work, Attempt):
            self._place(work)

    def prepared(self, preparation: Preparation, outcomes: Iterable[EnvironmentOutcome]) -> None:
        """Record a preparation's outcomes.

        Attempts that need a failed one are refused in their turn.
        """
        if line := self._lines.get(preparation.node_id):
            self._prepared(line, preparation, outcomes)
            self._to_look_at[preparation.node_id] = None

    def unprepared(self, preparation: Preparation, reason: str) -> None:
        """Record an interrupted preparation: repeat it, or fail it when no tries are left."""
        self._ended(preparation)
        line = self._lines.get(preparation.node_id)
        if line and line.interrupted() >= self._max_tries:
            failed = [EnvironmentOutcome(need, reason) for need in preparation.needs]
            self._prepared(line, preparation, failed)

    def joined(self, node: Node) -> None:
        """Add a node and give it parked attempts that it may run."""
        if node.node_id in self._lines:
            return
        self._lines[node.node_id] = NodeQueue(node)
        self._came_later.add(node.node_id)
        self._to_look_at[node.node_id] = None
        for attempt in self._unparked():
            self._place(attempt)

    def gone(self, node_id: str) -> tuple[Work, ...]:
        """Remove a node; return its begun work, for each of which call `lost` or `unprepared`."""
        line = self._lines.pop(node_id, None)
        if line is None:
            return ()
        for failed in self._failed.values():
            failed.discard(node_id)
        self._to_look_at.pop(node_id, None)
        self._without_work.pop(node_id, None)
        for attempt in line.waiting():
            self._place(attempt)
        return line.begun

    def give_up(self) -> tuple[Attempt, ...]:
        """Drop and return the parked attempts; they are finished."""
        given_up = self._unparked()
        self._left -= len(given_up)
        return given_up

    def withdraw(self) -> tuple[Attempt, ...]:
        """Drop and return all attempts that have not begun: their time is over."""
        waiting = [*self._unparked()]
        for line in self._lines.values():
            waiting += [line.pop() for _ in range(line.length)]
        self._left -= len(waiting)
        return tuple(sorted(waiting, key=lambda attempt: attempt.order))

    # How

    def _first_to_look_at(self) -> str:
        name = next(iter(self._to_look_at))
        del self._to_look_at[name]
        return name

    def _unparked(self) -> tuple[Attempt, ...]:
        """Empty the parking place and return what it held."""
        parked = self.parked()
        self._parked = []
        self._parked_as_told = None
        return parked

    def _place(self, attempt: Attempt) -> Attempt:
        """Add an attempt to its own node's queue, else its course's, else the shortest suitable."""
        line = self._own_line(attempt) or self._line_for(attempt)
        if line is None:
            self._parked.append(attempt)
            self._parked_as_told = None
            return attempt
        return self._add(attempt, line)

    def _add(self, attempt: Attempt, line: NodeQueue) -> Attempt:
        if attempt.node_id != line.node.node_id:
            attempt = replace(attempt, node_id=line.node.node_id)
        line.add(attempt)
        # The node has work, and one that has none may take it over.
        self._to_look_at[line.node.node_id] = None
        self._to_look_at |= self._without_work
        self._without_work.clear()
        return attempt

    def _own_line(self, attempt: Attempt) -> NodeQueue | None:
        """Return the planned node's queue, unless another machine has joined under that id."""
        line = self._lines.get(attempt.node_id)
        is_as_planned = attempt.node_id not in self._came_later or attempt.constraint.is_one_node
        if line is None or is_as_planned or self._may_run(attempt, line.node):
            return line
        return None

    def _line_for(self, attempt: Attempt) -> NodeQueue | None:
        if attempt.constraint.is_one_node:
            return None
        able = [line for line in self._lines.values() if self._may_run(attempt, line.node)]
        with_course = [line for line in able if line.has(attempt.course)]
        return min(with_course or able, key=lambda line: line.length, default=None)

    def _next(self, line: NodeQueue) -> Work | RefusedAttempt | None:
        if not line.is_busy:
            self._take_over(line)
        if not line.is_busy:
            self._without_work[line.node.node_id] = None
        has_given = False
        while attempt := line.first_that_fits():
            needs = self._needs_of(attempt)
            failure = line.failure(needs)
            if failure is None:
                if line.stands(needs):
                    return line.pop()
                return None if line.begun else line.preparation(self._needs_of)
            other = self._line_with(needs, line.pop())
            if other is None:
                return RefusedAttempt(attempt, failure)
            self._add(attempt, other)
            has_given = True
        return self._next(line) if has_given else None  # it may take over what it can build

    def _line_with(self, needs: tuple[EnvironmentNeed, ...], attempt: Attempt) -> NodeQueue | None:
        """Find a queue whose node has the environment, else the one node that may build it."""
        if attempt.constraint.is_one_node:
            return None
        able = [
            line
            for line in self._lines.values()
            if not line.failure(needs) and self._may_run(attempt, line.node)
        ]
        if standing := [line for line in able if line.stands(needs)]:
            return min(standing, key=lambda line: line.length)
        if not able or self._is_hopeless(needs):
            return None
        if self._second.get(needs) not in self._lines:
            self._second[needs] = min(able, key=lambda line: line.length).node.node_id
        return next((one for one in able if one.node.node_id == self._second[needs]), None)

    def _take_over(self, line: NodeQueue) -> None:
        """Take the next course not begun from the longest queue that has one for this node."""
        for other in sorted(self._lines.values(), key=lambda one: -one.length):
            if not other.length:
                return
            for course in other.to_give():
                attempts = other.of(course)
                if all(self._moves(attempt, line) for attempt in attempts):
                    other.give_away(course)
                    for attempt in attempts:
                        line.add(replace(attempt, node_id=line.node.node_id))
                    return

    def _moves(self, attempt: Attempt, line: NodeQueue) -> bool:
        needs = self._needs_of(attempt)
        if attempt.constraint.is_one_node or line.failure(needs):
            return False
        return (line.stands(needs) or not self._is_hopeless(needs)) and self._may_run(
            attempt, line.node
        )

    def _is_hopeless(self, needs: tuple[EnvironmentNeed, ...]) -> bool:
        """Return True if two nodes failed to build it: a third would fail, too."""
        return any(len(self._failed.get(need, ())) >= MOST_BUILDERS for need in needs)

    def _prepared(
        self, line: NodeQueue, preparation: Preparation, outcomes: Iterable[EnvironmentOutcome]
    ) -> None:
        told = tuple(outcomes)
        line.prepared(preparation, told)
        for outcome in told:
            if not outcome.ready:
                self._failed.setdefault(outcome.need, set()).add(line.node.node_id)

    def _ended(self, work: Work) -> None:
        if line := self._lines.get(work.node_id):
            line.ended(work)
            self._to_look_at[work.node_id] = None
