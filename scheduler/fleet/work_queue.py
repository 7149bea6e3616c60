"""Which attempt a node runs next, and where one goes whose node let it down.

A pure state machine: the shell around it (velodrome.scheduler.fleet.dispatch) tells it what
happened and asks what to start. Nothing here knows Ray, files or clocks.
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
    """Attempts in the order of the plan, each node working through a line of its own.

    What is compared runs on one node: attempts of one course stay together, and move together. A
    node that has nothing left takes over the next course that another has not begun. What no node
    that is there may run is parked until one comes. What lacks its environment on a node goes to
    one where that stands, or else to one more that has not tried to build it.
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
        """Everything that can start now, marked as begun; a refusal is finished by this."""
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
        """Nothing runs and nothing can: all that is left is parked."""
        return bool(self._left) and not any(line.is_busy for line in self._lines.values())

    def parked(self) -> tuple[Attempt, ...]:
        """The same tuple as before, if nothing has changed."""
        if self._parked_as_told is None:
            self._parked_as_told = tuple(self._parked)
        return self._parked_as_told

    # What happened

    def finished(self, attempt: Attempt) -> None:
        """A measurement came back, whatever its status."""
        self._ended(attempt)
        self._left -= 1

    def lost(self, attempt: Attempt) -> Attempt | None:
        """Nothing came back: the next try, or None when tries are used up.

        On its node, if that is still there: the rest of its course is.
        """
        self._ended(attempt)
        if attempt.tries >= self._max_tries:
            self._left -= 1
            return None
        again = replace(attempt, number=attempt.number + 1, tries=attempt.tries + 1, order=-1)
        return self._place(again)

    def put_back(self, work: Work) -> None:
        """It was handed over, but not begun: as if it had not been taken."""
        self._ended(work)
        if isinstance(work, Attempt):
            self._place(work)

    def prepared(self, preparation: Preparation, outcomes: Iterable[EnvironmentOutcome]) -> None:
        """What needs one that could not be built is refused when its turn comes."""
        if line := self._lines.get(preparation.node_id):
            self._prepared(line, preparation, outcomes)
            self._to_look_at[preparation.node_id] = None

    def unprepared(self, preparation: Preparation, reason: str) -> None:
        """Nobody knows whether they were built: once more, or failed if tries are used up."""
        self._ended(preparation)
        line = self._lines.get(preparation.node_id)
        if line and line.interrupted() >= self._max_tries:
            failed = [EnvironmentOutcome(need, reason) for need in preparation.needs]
            self._prepared(line, preparation, failed)

    def joined(self, node: Node) -> None:
        """A node is there, or there again; it gets what waits for such a one."""
        if node.node_id in self._lines:
            return
        self._lines[node.node_id] = NodeQueue(node)
        self._came_later.add(node.node_id)
        self._to_look_at[node.node_id] = None
        for attempt in self._unparked():
            self._place(attempt)

    def gone(self, node_id: str) -> tuple[Work, ...]:
        """A node is there no more. What was begun on it: tell `lost` or `unprepared` of each."""
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
        """What is parked, which is finished by this."""
        given_up = self._unparked()
        self._left -= len(given_up)
        return given_up

    def withdraw(self) -> tuple[Attempt, ...]:
        """What has not begun, which is finished by this: there is no time left for it."""
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
        """All that was parked, which is nowhere now."""
        parked = self.parked()
        self._parked = []
        self._parked_as_told = None
        return parked

    def _place(self, attempt: Attempt) -> Attempt:
        """Its own node, else where its course is, else the shortest line that may run it."""
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
        """That of the node it was planned for; one that has come later may be another machine."""
        line = self._lines.get(attempt.node_id)
        is_as_planned = attempt.node_id not in self._came_later or attempt.home.is_one_node
        if line is None or is_as_planned or self._may_run(attempt, line.node):
            return line
        return None

    def _line_for(self, attempt: Attempt) -> NodeQueue | None:
        if attempt.home.is_one_node:
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
        """Where its environment stands; else where it may be built, the same node for all."""
        if attempt.home.is_one_node:
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
        """The next course not begun of the longest line that has one for this node."""
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
        if attempt.home.is_one_node or line.failure(needs):
            return False
        return (line.stands(needs) or not self._is_hopeless(needs)) and self._may_run(
            attempt, line.node
        )

    def _is_hopeless(self, needs: tuple[EnvironmentNeed, ...]) -> bool:
        """What two nodes could not build is wrong for all: not every one is asked in turn."""
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
