"""Queue of one node: what waits for it, what runs on it, which environments it has. Pure."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from velodrome.agents.node import Node
from velodrome.agents.requests import resource_request
from velodrome.scheduler.fleet.attempts import (
    Attempt,
    EnvironmentNeed,
    EnvironmentOutcome,
    Preparation,
    Work,
)

Course = tuple[int, str]
MayRun = Callable[[Attempt, Node], bool]
NeedsOf = Callable[[Attempt], tuple[EnvironmentNeed, ...]]


class NodeQueue:
    """Attempts of one node in the plan's order; retried attempts come first."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._running: list[Attempt] = []
        self._preparing: Preparation | None = None
        self._heap: list[tuple[int, int, Attempt]] = []
        self._serial = 0  # so that heapq never compares two attempts
        self._courses_started: set[Course] = set()
        self._waiting: dict[Course, int] = {}  # how many of each course wait
        self._ready: set[EnvironmentNeed] = set()
        self._failed: dict[EnvironmentNeed, EnvironmentOutcome] = {}
        self._interruptions = 0

    @property
    def length(self) -> int:
        return len(self._heap)

    @property
    def started(self) -> tuple[Work, ...]:
        return (*self._running, *((self._preparing,) if self._preparing else ()))

    @property
    def is_busy(self) -> bool:
        return bool(self._heap or self._running or self._preparing)

    def has(self, course: Course) -> bool:
        return course in self._waiting or course in self._courses_started

    # Attempts

    def add(self, attempt: Attempt) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (attempt.order, self._serial, attempt))
        self._waiting[attempt.course] = self._waiting.get(attempt.course, 0) + 1

    def list_waiting(self) -> Sequence[Attempt]:
        return [attempt for _, _, attempt in sorted(self._heap)]

    def find_next(self) -> Attempt | None:
        """Return the first attempt if running work leaves room for it.

        No later attempt overtakes it.
        """
        if not self._heap or self._preparing:
            return None
        attempt = self._heap[0][2]
        return attempt if self._has_room(attempt) else None

    def pop(self) -> Attempt:
        attempt = heapq.heappop(self._heap)[2]
        self._waiting[attempt.course] -= 1
        if not self._waiting[attempt.course]:
            del self._waiting[attempt.course]
        return attempt

    def mark_started(self, work: Work) -> None:
        if isinstance(work, Preparation):
            self._preparing = work
        else:
            self._running.append(work)
            self._courses_started.add(work.course)

    def mark_ended(self, work: Work) -> None:
        if isinstance(work, Preparation):
            self._preparing = None
        else:
            self._running.remove(work)

    # Courses

    def list_movable(self) -> Iterator[Course]:
        """List courses that another node may take.

        None of them has begun; the next one stays here.
        """
        first = 0 if self.started else 1
        return (
            course
            for course in islice(self._waiting, first, None)
            if course not in self._courses_started
        )

    def list_attempts(self, course: Course) -> Sequence[Attempt]:
        return [entry[2] for entry in sorted(self._heap) if entry[2].course == course]

    def give_away(self, course: Course) -> None:
        self._heap = [entry for entry in self._heap if entry[2].course != course]
        heapq.heapify(self._heap)
        del self._waiting[course]

    # Environments

    def has_environments(self, needs: Iterable[EnvironmentNeed]) -> bool:
        return self._ready.issuperset(needs)

    def find_failure(self, needs: Iterable[EnvironmentNeed]) -> EnvironmentOutcome | None:
        return next((self._failed[need] for need in needs if need in self._failed), None)

    def make_preparation(self, needs_of: NeedsOf) -> Preparation:
        """Build all that waiting attempts need at once, so that the node is interrupted once."""
        wanted = {need for _, _, attempt in self._heap for need in needs_of(attempt)}
        return Preparation(self.node.node_id, self.list_lacking(wanted))

    def list_lacking(self, needs: Iterable[EnvironmentNeed]) -> tuple[EnvironmentNeed, ...]:
        return tuple(sorted(set(needs) - self._ready))

    def mark_prepared(
        self, preparation: Preparation, outcomes: Iterable[EnvironmentOutcome]
    ) -> None:
        self._preparing = None
        self._interruptions = 0
        self._failed |= {outcome.need: outcome for outcome in outcomes if not outcome.ready}
        self._ready.update(need for need in preparation.needs if need not in self._failed)

    def count_interruption(self) -> int:
        """Count consecutive interrupted preparations, this one included."""
        self._interruptions += 1
        return self._interruptions

    def _has_room(self, attempt: Attempt) -> bool:
        if not self._running:
            return True
        task = attempt.task
        if task.exclusive or any(other.task.exclusive for other in self._running):
            return False
        threads = sum(other.task.total_threads for other in self._running)
        if threads + task.total_threads > self.node.physical:
            return False
        own = self._list_gpus(attempt)
        rivals = [other for other in self._running if own & self._list_gpus(other)]
        return len(own) >= sum(other.task.gpu_count for other in (*rivals, attempt))

    def _list_gpus(self, attempt: Attempt) -> frozenset[str]:
        """List the UUIDs among which the agent chooses an attempt's GPUs."""
        task = attempt.task
        request = resource_request(task, attempt.gpu_uuids)
        return frozenset(gpu.uuid for gpu in request.select_gpus(self.node))
