"""A fleet that is not there: the dispatcher's Transport over a virtual clock, with faults on call.

What is simulated is Ray and the nodes; planning, queue and dispatcher are the real ones. Nodes
behave as Ray's have been seen to: work that finds its node full is held there; of a node that dies
the work breaks at once, and only where there was none it is noticed late; of one that is cut off
nothing comes at all; one that was given up and comes back has to start anew.
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
    """Something that happens to a node at an instant."""

    at_s: float
    node_id: str


class Dies(Fault):
    """The machine is gone, and with it what ran there."""


class Breaks(Fault):
    """A crash of the node's tasks; the node stays."""


class Silences(Fault):
    """A silent node: its tasks run on and report nothing."""


@dataclass(frozen=True)
class Cut(Fault):
    """Nothing comes from it for so long; what runs there runs on."""

    for_s: float


@dataclass(frozen=True)
class Busy(Fault):
    """Others use it for so long: what is started there is held."""

    for_s: float


@dataclass(frozen=True)
class Comes(Fault):
    """A node is there, for the first time or again."""

    node: Node


@dataclass(eq=False)
class Run:
    """A piece of work on a node, as it really was: began_s None while it is held."""

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


class Stuck(Exception):
    """The virtual clock has come to its end, and something still waits."""


class SimulatedTransport:
    """durations: of work, in seconds. failing: why an environment cannot be built, else empty.

    crowded: works that were sent to a node on which another one still ran that leaves them no
    room. on_end: told of every run that is over.
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
        self._given_up: set[str] = set()  # there, but cut off
        self._live: dict[int, tuple[_Host, Run]] = {}  # by the identity of the work
        self._now_s, self._end_s = 0.0, end_s
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._serial = 0
        self._changes: list[Change] = []
        self._reports: list[tuple[Work, object]] = []
        for fault in faults:
            self._at(fault.at_s, self._strike, fault)

    # What the dispatcher asks

    def now_s(self) -> float:
        return self._now_s

    def changes(self) -> Sequence[Change]:
        changes, self._changes = self._changes, []
        return changes

    def start(self, work: Work) -> None:
        host = self._hosts.get(work.node_id)
        if host is None:  # the queue has yet to hear of it
            self._reports.append((work, WorkFailed("its node is gone", of_node=True)))
            return
        if not _has_room(host.node, [run.work for run in host.runs if not run.is_abandoned], work):
            self.crowded.append(work)
        run = Run(work)
        host.runs.append(run)
        self._live[id(work)] = host, run
        if host.is_up:
            self._at(self._now_s + START_S, self._begin, host)
        else:
            self._at(self._now_s + BROKEN_AFTER_S, self._fail_with_node, host, run)

    def reports(self, timeout_s: float) -> Sequence[tuple[Work, object]]:
        until_s = self._now_s + timeout_s
        while not self._reports and self._heap and self._heap[0][0] <= until_s:
            self._now_s, _, happens, arguments = heapq.heappop(self._heap)
            happens(*arguments)
        if not self._reports:
            self._now_s = until_s
        if self._now_s > self._end_s:
            raise Stuck(f"at {self._now_s:.0f} s")
        reports, self._reports = self._reports, []
        return reports

    def abandon(self, work: Work) -> None:
        """Abandon work. On a cut-off node it runs on and keeps the node from other work."""
        if id(work) in self._live:
            host, run = self._live[id(work)]
            run.is_abandoned = True
            if self._now_s >= host.cut_until_s:
                self._over(host, run)

    def want(self, attempts: Sequence[Attempt]) -> None:
        self.wanted = attempts

    # What happens on a node

    def _begin(self, host: _Host) -> None:
        """Start the first waiting task if it fits; no task overtakes it."""
        if not host.is_up or self._now_s < host.busy_until_s:
            return
        for run in list(host.runs):
            if run.began_s is not None:
                continue
            running = [one.work for one in host.runs if one.began_s is not None]
            if not _has_room(host.node, running, run.work):
                return
            run.began_s = self._now_s
            self._say(host, run, Heartbeat())
            self._at(self._now_s + BEAT_S, self._beat, host, run)
            self._at(self._now_s + self._durations(run.work), self._finish, host, run)

    def _beat(self, host: _Host, run: Run) -> None:
        if run.ended_s is None:
            self._say(host, run, Heartbeat())
            self._at(self._now_s + BEAT_S, self._beat, host, run)

    def _finish(self, host: _Host, run: Run) -> None:
        if run.ended_s is None:
            run.is_answered = True
            self._say(host, run, self._answer(host.node, run))
            self._over(host, run)

    def _break(self, host: _Host, run: Run) -> None:
        self._say(host, run, WorkFailed("WorkerCrashedError"))
        self._over(host, run)

    def _fail_with_node(self, host: _Host, run: Run) -> None:
        """It shows that its node is gone before that is noticed otherwise."""
        self._say(host, run, WorkFailed("NodeDiedError", of_node=True))
        self._over(host, run)
        self._gone(host, "NodeDiedError")

    def _over(self, host: _Host, run: Run) -> None:
        if run.ended_s is None:
            run.ended_s = self._now_s
            host.runs.remove(run)
            del self._live[id(run.work)]
            self._on_end(run)
            self._begin(host)

    def _say(self, host: _Host, run: Run, report: object) -> None:
        if run.is_abandoned or run.is_silent:
            return
        if self._now_s < host.cut_until_s:
            host.unsent.append((run, report))
        else:
            self._reports.append((run.work, report))

    def _answer(self, node: Node, run: Run) -> object:
        work = run.work
        if isinstance(work, Attempt):
            return measured(work, node, run.began_s or 0.0, self._now_s)
        return Prepared(tuple(EnvironmentOutcome(need, self._failing(need)) for need in work.needs))

    # Faults

    def _strike(self, fault: Fault) -> None:
        if isinstance(fault, Comes):
            if fault.node_id not in self._given_up:
                self._comes(fault.node)
            return
        host = self._hosts.get(fault.node_id)
        if host is None or not host.is_up:
            return
        if isinstance(fault, Dies):
            self._dies(host)
        elif isinstance(fault, Cut):
            self._cut(host, fault.for_s)
        elif isinstance(fault, Busy):
            host.busy_until_s = self._now_s + fault.for_s
            self._at(host.busy_until_s, self._begin, host)
        for run in list(host.runs) if isinstance(fault, Breaks | Silences) else ():
            if isinstance(fault, Silences):
                run.is_silent = run.began_s is not None
            else:
                self._break(host, run)

    def _dies(self, host: _Host) -> None:
        host.is_up = False
        for run in list(host.runs):
            self._over(host, run)
            self._at(self._now_s + BROKEN_AFTER_S, self._fail_with_node, host, run)
        self._at(self._now_s + NOTICED_AFTER_S, self._gone, host, "it died")

    def _cut(self, host: _Host, for_s: float) -> None:
        host.cut_until_s = max(host.cut_until_s, self._now_s + for_s)
        self._at(host.cut_until_s, self._is_back, host)
        self._at(self._now_s + NOTICED_AFTER_S, self._missed, host)

    def _missed(self, host: _Host) -> None:
        if self._now_s < host.cut_until_s:
            self._gone(host, "it does not answer")

    def _is_back(self, host: _Host) -> None:
        """Reconnect the node; a task that was given up has to start again."""
        if self._now_s < host.cut_until_s or not host.is_up:
            return
        if self._hosts.get(host.node.node_id) is host:
            self._reports += [(run.work, said) for run, said in host.unsent if not run.is_abandoned]
            host.unsent.clear()
            return
        for run in list(host.runs):
            run.is_abandoned = True
            self._over(host, run)
        self._given_up.discard(host.node.node_id)
        self._comes(host.node)

    def _gone(self, host: _Host, reason: str) -> None:
        if self._hosts.get(host.node.node_id) is host:
            del self._hosts[host.node.node_id]
            if host.is_up:
                self._given_up.add(host.node.node_id)
            self._changes.append(Gone(host.node, reason))

    def _comes(self, node: Node) -> None:
        if before := self._hosts.get(node.node_id):
            if before.is_up:
                return
            self._gone(before, "it was started anew")
        self._hosts[node.node_id] = _Host(node)
        self._changes.append(Joined(node))

    def _at(self, at_s: float, happens: Callable[..., None], *arguments: object) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (at_s, self._serial, happens, arguments))


def _has_room(node: Node, running: Sequence[Work], work: Work) -> bool:
    """Return True if the work fits; builds and exclusive tasks have a node to themselves."""
    works = [*running, work]
    tasks = [one.task for one in works if isinstance(one, Attempt) and not one.task.exclusive]
    if len(tasks) < len(works):
        return len(works) == 1
    threads, gpus = sum(one.threads for one in tasks), sum(one.gpu_count for one in tasks)
    return threads <= node.physical and gpus <= len(node.gpus)


def measured(attempt: Attempt, node: Node, began_s: float, ended_s: float) -> Measurement:
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


def heavy_tailed(shortest_s: float, longest_s: float, seed: int = 0) -> Callable[[Work], float]:
    """Most are short and few are long, of a task on a node always the same: a bounded Pareto."""
    low, high = shortest_s**-1.2, longest_s**-1.2

    def of(work: Work) -> float:
        subject = work.task if isinstance(work, Attempt) else work.needs
        share = random.Random(f"{seed} {work.node_id} {subject}").random()
        return (low - share * (low - high)) ** (-1 / 1.2)

    return of


def storm(nodes: Sequence[Node], count: int, until_s: float, seed: int) -> Iterator[Fault]:
    """Faults of every kind at random instants. A node that dies comes back, under its name."""
    chance = random.Random(seed)
    for number in range(count):
        at_s, node = chance.uniform(0, until_s), chance.choice(nodes)
        kind = chance.choice((Dies, Breaks, Silences, Cut, Busy, Comes))
        if kind in (Cut, Busy):
            yield kind(at_s, node.node_id, for_s=chance.choice((2.0, 20.0, 60.0)))
        elif kind is Comes:
            new = replace(node, node_id=f"new{number}", hostname=f"new{number}")
            yield Comes(at_s, new.node_id, new)
        else:
            yield kind(at_s, node.node_id)
        if kind is Dies:
            yield Comes(at_s + chance.uniform(1, 90), node.node_id, node)
