"""A simulated fleet: the dispatcher's Transport with a virtual clock and faults at given times.

Ray and the nodes are simulated; planning, queue and dispatcher are real. Nodes behave as observed
with Ray: work waits on a full node. The work of a node that dies fails at once; the death of an
idle node is noticed late. A disconnected node sends nothing. A node that was given up starts again
when it returns.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempts import (
    Attempt,
    EnvironmentNeed,
    EnvironmentOutcome,
    Prepared,
    Work,
)
from velodrome.scheduler.fleet.transport import Change, Gone, Heartbeat, Joined, WorkFailed

START_S = 0.01
BEAT_S = 5.0
BROKEN_AFTER_S = 0.05  # measured: from SIGKILL of a node to an error of what ran there
NOTICED_AFTER_S = 5.0


@dataclass(frozen=True)
class Fault:
    """A fault of a node at a time."""

    at_s: float
    node_id: str


class NodeDeath(Fault):
    """The machine stops, and its work with it."""


class TaskCrash(Fault):
    """A crash of the node's tasks; the node stays."""


class TaskSilence(Fault):
    """A silent node: its tasks run on and report nothing."""


@dataclass(frozen=True)
class Disconnection(Fault):
    """A node sends nothing for some time; its work runs on."""

    for_s: float


@dataclass(frozen=True)
class Contention(Fault):
    """Other programs use a node for some time: new work waits there."""

    for_s: float


@dataclass(frozen=True)
class NodeStart(Fault):
    """A node joins, for the first time or again."""

    node: Node


@dataclass(eq=False)
class Run:
    """The true history of work on a node. began_s: None while it waits."""

    work: Work
    began_s: float | None = None
    ended_s: float | None = None
    is_answered: bool = False
    is_silent: bool = False
    is_abandoned: bool = False


@dataclass(eq=False)
class _Host:
    node: Node
    is_up: bool = True
    busy_until_s: float = 0.0
    cut_until_s: float = 0.0
    runs: list[Run] = field(default_factory=list)
    unsent: list[tuple[Run, object]] = field(default_factory=list)


class NoProgress(Exception):
    """The virtual clock ended although work still waits."""


class SimulatedTransport:
    """A Transport. durations: of work, in s. failing: why an environment cannot be built, or "".

    crowded: works that were sent to a node whose running work leaves them no room. on_end: called
    for every run that ends.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        durations: Callable[[Work], float],
        faults: Iterable[Fault] = (),
        failing: Callable[[EnvironmentNeed], str] = lambda need: "",
        on_end: Callable[[Run], None] = lambda run: None,
        end_s: float = 1e7,
    ) -> None:
        self.crowded: list[Work] = []
        self.wanted: Sequence[Attempt] = ()
        self._durations, self._failing, self._on_end = durations, failing, on_end
        self._hosts = {node.node_id: _Host(node) for node in nodes}
        self._given_up: set[str] = set()  # running, but disconnected
        self._live: dict[int, tuple[_Host, Run]] = {}  # by the identity of the work
        self._now_s, self._end_s = 0.0, end_s
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._serial = 0
        self._changes: list[Change] = []
        self._reports: list[tuple[Work, object]] = []
        for fault in faults:
            self._schedule(fault.at_s, self._apply, fault)

    # The dispatcher's side

    def read_clock_s(self) -> float:
        return self._now_s

    def list_changes(self) -> Sequence[Change]:
        changes, self._changes = self._changes, []
        return changes

    def start(self, work: Work) -> None:
        host = self._hosts.get(work.node_id)
        if host is None:  # the queue does not know it yet
            self._reports.append((work, WorkFailed("its node is gone", of_node=True)))
            return
        if not _has_room(host.node, [run.work for run in host.runs if not run.is_abandoned], work):
            self.crowded.append(work)
        run = Run(work)
        host.runs.append(run)
        self._live[id(work)] = host, run
        if host.is_up:
            self._schedule(self._now_s + START_S, self._begin, host)
        else:
            self._schedule(self._now_s + BROKEN_AFTER_S, self._fail_with_node, host, run)

    def wait_for_reports(self, timeout_s: float) -> Sequence[tuple[Work, object]]:
        until_s = self._now_s + timeout_s
        while not self._reports and self._heap and self._heap[0][0] <= until_s:
            self._now_s, _, happens, arguments = heapq.heappop(self._heap)
            happens(*arguments)
        if not self._reports:
            self._now_s = until_s
        if self._now_s > self._end_s:
            raise NoProgress(f"at {self._now_s:.0f} s")
        reports, self._reports = self._reports, []
        return reports

    def abandon(self, work: Work) -> None:
        """Abandon work. On a cut-off node it runs on and keeps the node from other work."""
        if id(work) in self._live:
            host, run = self._live[id(work)]
            run.is_abandoned = True
            if self._now_s >= host.cut_until_s:
                self._end(host, run)

    def want(self, attempts: Sequence[Attempt]) -> None:
        self.wanted = attempts

    # The nodes' side

    def _begin(self, host: _Host) -> None:
        """Start the first waiting task if it fits; no task overtakes it."""
        if not host.is_up or self._now_s < host.busy_until_s:
            return
        for run in list(host.runs):
            if run.began_s is not None:
                continue
            running = [other.work for other in host.runs if other.began_s is not None]
            if not _has_room(host.node, running, run.work):
                return
            run.began_s = self._now_s
            self._report(host, run, Heartbeat())
            self._schedule(self._now_s + BEAT_S, self._send_heartbeat, host, run)
            self._schedule(self._now_s + self._durations(run.work), self._finish, host, run)

    def _send_heartbeat(self, host: _Host, run: Run) -> None:
        if run.ended_s is None:
            self._report(host, run, Heartbeat())
            self._schedule(self._now_s + BEAT_S, self._send_heartbeat, host, run)

    def _finish(self, host: _Host, run: Run) -> None:
        if run.ended_s is None:
            run.is_answered = True
            self._report(host, run, self._answer(host.node, run))
            self._end(host, run)

    def _break(self, host: _Host, run: Run) -> None:
        self._report(host, run, WorkFailed("WorkerCrashedError"))
        self._end(host, run)

    def _fail_with_node(self, host: _Host, run: Run) -> None:
        """Fail with the node: the failure reveals the death before other signs do."""
        self._report(host, run, WorkFailed("NodeDiedError", of_node=True))
        self._end(host, run)
        self._remove(host, "NodeDiedError")

    def _end(self, host: _Host, run: Run) -> None:
        if run.ended_s is None:
            run.ended_s = self._now_s
            host.runs.remove(run)
            del self._live[id(run.work)]
            self._on_end(run)
            self._begin(host)

    def _report(self, host: _Host, run: Run, report: object) -> None:
        if run.is_abandoned or run.is_silent:
            return
        if self._now_s < host.cut_until_s:
            host.unsent.append((run, report))
        else:
            self._reports.append((run.work, report))

    def _answer(self, node: Node, run: Run) -> object:
        work = run.work
        if isinstance(work, Attempt):
            return make_measurement(work, node, run.began_s or 0.0, self._now_s)
        return Prepared(tuple(EnvironmentOutcome(need, self._failing(need)) for need in work.needs))

    # Faults

    def _apply(self, fault: Fault) -> None:
        if isinstance(fault, NodeStart):
            if fault.node_id not in self._given_up:
                self._add_node(fault.node)
            return
        host = self._hosts.get(fault.node_id)
        if host is None or not host.is_up:
            return
        if isinstance(fault, NodeDeath):
            self._kill(host)
        elif isinstance(fault, Disconnection):
            self._disconnect(host, fault.for_s)
        elif isinstance(fault, Contention):
            host.busy_until_s = self._now_s + fault.for_s
            self._schedule(host.busy_until_s, self._begin, host)
        for run in list(host.runs) if isinstance(fault, TaskCrash | TaskSilence) else ():
            if isinstance(fault, TaskSilence):
                run.is_silent = run.began_s is not None
            else:
                self._break(host, run)

    def _kill(self, host: _Host) -> None:
        host.is_up = False
        for run in list(host.runs):
            self._end(host, run)
            self._schedule(self._now_s + BROKEN_AFTER_S, self._fail_with_node, host, run)
        self._schedule(self._now_s + NOTICED_AFTER_S, self._remove, host, "it died")

    def _disconnect(self, host: _Host, for_s: float) -> None:
        host.cut_until_s = max(host.cut_until_s, self._now_s + for_s)
        self._schedule(host.cut_until_s, self._reconnect, host)
        self._schedule(self._now_s + NOTICED_AFTER_S, self._notice_absence, host)

    def _notice_absence(self, host: _Host) -> None:
        if self._now_s < host.cut_until_s:
            self._remove(host, "it does not answer")

    def _reconnect(self, host: _Host) -> None:
        """Reconnect the node; a task that was given up has to start again."""
        if self._now_s < host.cut_until_s or not host.is_up:
            return
        if self._hosts.get(host.node.node_id) is host:
            unsent = (pair for pair in host.unsent if not pair[0].is_abandoned)
            self._reports += [(run.work, report) for run, report in unsent]
            host.unsent.clear()
            return
        for run in list(host.runs):
            run.is_abandoned = True
            self._end(host, run)
        self._given_up.discard(host.node.node_id)
        self._add_node(host.node)

    def _remove(self, host: _Host, reason: str) -> None:
        if self._hosts.get(host.node.node_id) is host:
            del self._hosts[host.node.node_id]
            if host.is_up:
                self._given_up.add(host.node.node_id)
            self._changes.append(Gone(host.node, reason))

    def _add_node(self, node: Node) -> None:
        if before := self._hosts.get(node.node_id):
            if before.is_up:
                return
            self._remove(before, "it was started anew")
        self._hosts[node.node_id] = _Host(node)
        self._changes.append(Joined(node))

    def _schedule(self, at_s: float, happens: Callable[..., None], *arguments: object) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (at_s, self._serial, happens, arguments))


def _has_room(node: Node, running: Sequence[Work], work: Work) -> bool:
    """Return True if the work fits; builds and exclusive tasks have a node to themselves."""
    works = [*running, work]
    attempts = [each for each in works if isinstance(each, Attempt)]
    tasks = [attempt.task for attempt in attempts if not attempt.task.exclusive]
    if len(tasks) < len(works):
        return len(works) == 1
    threads, gpus = sum(task.threads for task in tasks), sum(task.gpu_count for task in tasks)
    return threads <= node.physical and gpus <= len(node.gpus)


def make_measurement(attempt: Attempt, node: Node, began_s: float, ended_s: float) -> Measurement:
    return Measurement(
        attempt.task,
        attempt.repeat,
        attempt.number,
        Status.OK,
        "",
        node.node_id,
        node.hostname,
        node.node_type,
        began_s,
        ended_s,
    )


def draw_durations(shortest_s: float, longest_s: float, seed: int = 0) -> Callable[[Work], float]:
    """Draw durations from a bounded Pareto distribution; a task has one per node."""
    low, high = shortest_s**-1.2, longest_s**-1.2

    def of(work: Work) -> float:
        subject = work.task if isinstance(work, Attempt) else work.needs
        share = random.Random(f"{seed} {work.node_id} {subject}").random()
        return (low - share * (low - high)) ** (-1 / 1.2)

    return of


def draw_faults(nodes: Sequence[Node], count: int, until_s: float, seed: int) -> Iterator[Fault]:
    """Draw faults of every kind at random times. A node that dies returns under its name."""
    chance = random.Random(seed)
    for number in range(count):
        at_s, node = chance.uniform(0, until_s), chance.choice(nodes)
        kind = chance.choice(
            (NodeDeath, TaskCrash, TaskSilence, Disconnection, Contention, NodeStart)
        )
        if kind in (Disconnection, Contention):
            yield kind(at_s, node.node_id, for_s=chance.choice((2.0, 20.0, 60.0)))
        elif kind is NodeStart:
            new = replace(node, node_id=f"new{number}", hostname=f"new{number}")
            yield NodeStart(at_s, new.node_id, new)
        else:
            yield kind(at_s, node.node_id)
        if kind is NodeDeath:
            yield NodeStart(at_s + chance.uniform(1, 90), node.node_id, node)
