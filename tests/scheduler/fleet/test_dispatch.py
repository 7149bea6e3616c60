"""A sweep over a simulated fleet: what runs where and when, and which events it sends."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest

from velodrome.agents.node import Core, Node
from velodrome.agents.task import Task
from velodrome.scheduler.fleet.attempt_events import (
    Blocked,
    Ended,
    Lost,
    NoEnvironment,
    Preparing,
    Started,
    Waiting,
)
from velodrome.scheduler.fleet.attempts import Attempt, EnvironmentNeed, Preparation, Work
from velodrome.scheduler.fleet.dispatch import MOST_TOGETHER, SILENT_S, Dispatcher
from velodrome.scheduler.fleet.transport import Gone
from velodrome.scheduler.fleet.work_queue import MAX_TRIES, WorkQueue
from velodrome.scheduler.plans.alternatives import ANYWHERE, NodeConstraint


def node(name: str) -> Node:
    return Node(name, f"host-{name}", "a CPU", tuple(Core(n, (n,)) for n in range(4)), 2**34)


def attempt(name: str, where: str = "n1", *, course: int | None = None, **task: Any) -> Attempt:
    """Each in a course of its own, by default; order is that of the alphabet."""
    order = ord(name[0])
    made = Task(name, "plain", "lenet", 64, **task)
    return Attempt(made, 0, where, course=(order if course is None else course, ""), order=order)


def anywhere(attempt: Attempt, node: Node) -> bool:
    return attempt.constraint.node_id in ("", node.node_id)


def needs_own(attempt: Attempt) -> tuple[EnvironmentNeed, ...]:
    return (EnvironmentNeed(attempt.task.framework, "cpu"),)


def needs_nothing(attempt: Attempt) -> tuple[EnvironmentNeed, ...]:
    return ()


def ten_seconds(work: Work) -> float:
    return 10.0


@dataclass
class Sweep:
    """The events of a sweep that has ended, and what really ran."""

    events: list[object] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    runs: list[Any] = field(default_factory=list)
    crowded: list[Work] = field(default_factory=list)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def when(self, kind: type[Any]) -> list[float]:
        return [
            at_s
            for event, at_s in zip(self.events, self.at_s, strict=True)
            if isinstance(event, kind)
        ]

    @property
    def ended(self) -> dict[str, str]:
        """Frameworks that were measured, and where."""
        return {one.attempt.task.framework: one.measurement.node_id for one in self.of(Ended)}


@pytest.fixture
def swept(simulation: ModuleType) -> Callable[..., Sweep]:
    """Runs a sweep to its end."""

    def run(
        attempts: Iterable[Attempt],
        nodes: Sequence[Node],
        faults: Iterable[Any] = (),
        *,
        durations: Callable[[Work], float] = ten_seconds,
        needs: Callable[[Attempt], tuple[EnvironmentNeed, ...]] = needs_nothing,
        failing: Callable[[EnvironmentNeed], str] = lambda need: "",
        max_tries: int = MAX_TRIES,
        patience_s: float = 300.0,
        on_event: Callable[[object], None] = lambda event: None,
    ) -> Sweep:
        sweep = Sweep()
        transport = simulation.SimulatedTransport(
            nodes, durations, faults, failing, sweep.runs.append, end_s=1e5
        )

        def tell(event: object) -> None:
            sweep.events.append(event)
            sweep.at_s.append(transport.read_clock_s())
            on_event(event)

        queue = WorkQueue(attempts, nodes, anywhere, needs, max_tries)
        Dispatcher(queue, transport, tell, patience_s).run()
        sweep.crowded = transport.crowded
        return sweep

    return run


Swept = Callable[..., Sweep]


def test_every_attempt_ends_exactly_once(swept: Swept) -> None:
    attempts = [attempt(name, where) for name in "abcdef" for where in ("n1", "n2")]
    sweep = swept([*attempts], [node("n1"), node("n2")])
    assert Counter(one.attempt.identity for one in sweep.of(Ended)) == Counter(
        one.identity for one in attempts
    )
    assert not sweep.of(Lost) and not sweep.crowded


def test_a_node_starts_its_next_attempt_only_after_the_last_row_is_stored(swept: Swept) -> None:
    kept: set[str] = set()
    order: list[tuple[str, frozenset[str]]] = []

    def keep(event: object) -> None:
        if isinstance(event, Started):
            order.append((event.attempt.task.framework, frozenset(kept)))
        if isinstance(event, Ended):
            kept.add(event.attempt.task.framework)

    swept([attempt("a"), attempt("b"), attempt("c")], [node("n1")], on_event=keep)
    assert order == [("a", frozenset()), ("b", frozenset("a")), ("c", frozenset("ab"))]


def test_a_node_does_not_wait_for_rows_of_other_nodes(swept: Swept) -> None:
    attempts = [attempt(name, where) for name in "ab" for where in ("n1", "n2")]
    sweep = swept(attempts, [node("n1"), node("n2")])
    kinds = [type(event) for event in sweep.events]
    assert kinds == [Started, Started, Ended, Started, Ended, Started, Ended, Ended]


def test_work_of_a_dead_node_runs_elsewhere(swept: Swept, simulation: ModuleType) -> None:
    sweep = swept(
        [attempt("a"), attempt("b", "n2")],
        [node("n1"), node("n2")],
        [simulation.NodeDeath(5.0, "n1")],
    )
    assert sweep.ended == {"a": "n2", "b": "n2"}
    assert [one.next_try.tries for one in sweep.of(Lost)] == [2]


def test_a_dead_node_costs_running_work_a_try_and_blocked_work_none(
    swept: Swept, simulation: ModuleType
) -> None:
    faults = [
        simulation.Contention(0.0, "n1", for_s=50.0),
        simulation.NodeDeath(5.0, "n1"),
        simulation.NodeDeath(15.0, "n2"),
    ]
    attempts = [attempt("a"), attempt("b", "n2", course=2), attempt("c", "n2", course=2)]
    sweep = swept(attempts, [node("n1"), node("n2"), node("n3")], faults)
    assert sweep.ended == {"a": "n3", "b": "n2", "c": "n3"}
    assert [one.attempt.task.framework for one in sweep.of(Lost)] == ["c"]


def test_an_attempt_that_is_lost_repeatedly_is_given_up(
    swept: Swept, simulation: ModuleType
) -> None:
    breaks = [simulation.TaskCrash(at_s, "n1") for at_s in range(5, 200, 8)]
    sweep = swept([attempt("a", "n1")], [node("n1")], breaks)
    assert [one.next_try is None for one in sweep.of(Lost)] == [False] * (MAX_TRIES - 1) + [True]
    assert not sweep.of(Ended)


def test_work_of_a_disconnected_node_runs_elsewhere(swept: Swept, simulation: ModuleType) -> None:
    cut = simulation.Disconnection(5.0, "n1", for_s=1000.0)
    sweep = swept([attempt("a")], [node("n1"), node("n2")], [cut])
    assert sweep.ended == {"a": "n2"}
    assert [one.node.node_id for one in sweep.of(Gone)] == ["n1"]
    assert sweep.when(Ended) < [5 + simulation.NOTICED_AFTER_S + 10 + 2]


def test_a_short_disconnection_costs_nothing(swept: Swept, simulation: ModuleType) -> None:
    sweep = swept([attempt("a")], [node("n1")], [simulation.Disconnection(8.0, "n1", for_s=4.0)])
    assert sweep.ended == {"a": "n1"}
    assert not sweep.of(Lost)


def test_silent_work_is_given_up_and_its_late_reports_are_ignored(
    swept: Swept, simulation: ModuleType
) -> None:
    sweep = swept(
        [attempt("a")],
        [node("n1")],
        [simulation.TaskSilence(7.0, "n1")],
        durations=lambda work: 45.0,
    )
    (lost,) = sweep.of(Lost)
    assert f"{SILENT_S:.0f} s" in lost.reason
    assert SILENT_S < sweep.when(Lost)[0] - 5.0 < SILENT_S + 3
    assert [one.attempt.number for one in sweep.of(Ended)] == [2]


def test_a_late_answer_of_work_that_was_given_up_is_ignored(
    swept: Swept, simulation: ModuleType
) -> None:
    """The node that was cut off finishes what it had; by then it has been done elsewhere."""
    cut = simulation.Disconnection(2.0, "n1", for_s=40.0)
    attempts = [attempt("a"), attempt("b", "n2"), attempt("c", "n2")]
    sweep = swept(attempts, [node("n1"), node("n2")], [cut], durations=lambda work: 20.0)
    assert Counter(one.attempt.task.framework for one in sweep.of(Ended)) == Counter("abc")
    assert sweep.ended["a"] == "n2"


def test_a_node_in_use_by_others_is_reported_once(swept: Swept, simulation: ModuleType) -> None:
    sweep = swept([attempt("a")], [node("n1")], [simulation.Contention(0.0, "n1", for_s=100.0)])
    assert [(one.work.task.framework, one.hostname) for one in sweep.of(Blocked)] == [("a", "n1")]
    assert sweep.when(Blocked) < [10.0]
    assert sweep.ended == {"a": "n1"}


def test_an_attempt_without_a_suitable_node_is_given_up_after_patience(swept: Swept) -> None:
    bound = Attempt(
        Task("a", "plain", "lenet", 64), 0, "n9", constraint=NodeConstraint(node_id="n9")
    )
    sweep = swept([bound, attempt("b")], [node("n1")], patience_s=60.0)
    (lost,) = sweep.of(Lost)
    assert lost.attempt.task.framework == "a" and lost.next_try is None
    assert 70.0 <= sweep.when(Lost)[0] <= 73.0  # b ran for 10 s, only then does patience begin
    assert sweep.of(Waiting)[0].seconds_left == 60.0


def test_a_node_that_joins_in_time_gets_the_waiting_attempts(
    swept: Swept, simulation: ModuleType
) -> None:
    bound = Attempt(
        Task("a", "plain", "lenet", 64), 0, "n9", constraint=NodeConstraint(node_id="n9")
    )
    comes = simulation.NodeStart(50.0, "n9", node("n9"))
    sweep = swept([bound], [node("n1")], [comes], patience_s=60.0)
    assert sweep.ended == {"a": "n9"}
    assert not sweep.of(Lost)


def test_environments_are_built_before_a_nodes_first_task_and_never_beside_one(
    swept: Swept, simulation: ModuleType
) -> None:
    attempts = [attempt(name, where) for name in "abc" for where in ("n1", "n2")]
    death = simulation.NodeDeath(55.0, "n2")  # its work comes to n1, with needs of its own
    late = [attempt(name, "n2") for name in "xyz"]
    sweep = swept([*attempts, *late], [node("n1"), node("n2")], [death], needs=needs_own)
    assert set(sweep.ended) == set("abcxyz")
    assert not sweep.crowded
    for name in ("n1", "n2"):
        spans = sorted(
            (run.began_s, run.ended_s, isinstance(run.work, Preparation))
            for run in sweep.runs
            if run.work.node_id == name
        )
        assert spans[0][2]
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_task_whose_environment_cannot_be_built_is_refused_with_the_reason(swept: Swept) -> None:
    sweep = swept(
        [attempt("a"), attempt("b")],
        [node("n1")],
        needs=needs_own,
        failing=lambda need: "no wheel" if need.framework == "a" else "",
    )
    assert [
        (one.attempt.task.framework, one.outcome.reason) for one in sweep.of(NoEnvironment)
    ] == [("a", "no wheel")]
    assert sweep.ended == {"b": "n1"}


def test_environments_interrupted_by_a_death_are_built_where_the_work_goes(
    swept: Swept, simulation: ModuleType
) -> None:
    sweep = swept(
        [attempt("a")], [node("n1"), node("n2")], [simulation.NodeDeath(5.0, "n1")], needs=needs_own
    )
    assert sweep.ended == {"a": "n2"}
    assert not sweep.of(Lost)


def test_builds_that_are_always_interrupted_are_given_up(
    swept: Swept, simulation: ModuleType
) -> None:
    breaks = [simulation.TaskCrash(float(at_s), "n1") for at_s in range(5, 2000, 5)]
    sweep = swept([attempt("a")], [node("n1")], breaks, needs=needs_own)
    assert [one.attempt.task.framework for one in sweep.of(NoEnvironment)] == ["a"]
    assert 1 < len(sweep.of(Preparing)) < 5


def fleet_and_tasks() -> tuple[list[Node], list[Attempt]]:
    """300 tasks in courses of 3 on 12 nodes; of every 10 courses one is for its node alone."""
    nodes = [node(f"n{number}") for number in range(12)]
    attempts = []
    for order in range(300):
        course = order // 3
        where = nodes[course % 12].node_id
        home = NodeConstraint(node_id=where) if course % 10 == 0 else ANYWHERE
        task = Task(f"f{order}", "plain", "lenet", 64)
        attempts.append(Attempt(task, 0, where, constraint=home, course=(course, ""), order=order))
    return nodes, attempts


@pytest.mark.parametrize("seed", range(30))
def test_random_faults_neither_lose_nor_duplicate_attempts(
    swept: Swept, simulation: ModuleType, seed: int
) -> None:
    nodes, attempts = fleet_and_tasks()
    faults = list(simulation.draw_faults(nodes, 50, 400.0, seed))
    durations = simulation.draw_durations(5.0, 60.0, seed)
    sweep = swept(attempts, nodes, faults, durations=durations, max_tries=50, patience_s=1e4)
    ended = Counter(one.attempt.identity for one in sweep.of(Ended))
    assert ended == Counter(one.identity for one in attempts)
    assert not [one for one in sweep.of(Lost) if one.next_try is None]
    assert not sweep.crowded
    spans = defaultdict(list)
    for run in sweep.runs:
        if run.began_s is not None:
            spans[run.work.node_id].append((run.began_s, run.ended_s))
    for of_node in spans.values():
        assert all(before[1] <= after[0] for before, after in pairwise(sorted(of_node)))
    bound = {
        one.task.framework: one.constraint.node_id for one in attempts if one.constraint.is_one_node
    }
    assert all(sweep.ended[framework] == name for framework, name in bound.items())
    struck = {fault.node_id for fault in faults if not isinstance(fault, simulation.NodeStart)}
    where: dict[object, set[str]] = defaultdict(set)
    for one in sweep.of(Ended):
        where[one.attempt.course].add(one.measurement.node_id)
    assert all(len(names) == 1 for names in where.values() if not names & struck)


def reporting_together(simulation: ModuleType, nodes: Sequence[Node]) -> Any:
    """A simulated transport that tells at once what was reported within a second."""

    class Together(simulation.SimulatedTransport):  # type: ignore[misc,name-defined]
        def wait_for_reports(self, timeout_s: float) -> Sequence[tuple[Work, object]]:
            found = [*super().wait_for_reports(timeout_s)]
            while found and self._heap and self._heap[0][0] <= self.read_clock_s() + 1.0:
                found += super().wait_for_reports(1.0)
            return found

    return Together(nodes, ten_seconds, end_s=1e5)


def test_attempts_that_end_together_are_stored_together_first(
    simulation: ModuleType,
) -> None:
    nodes = [node(f"n{number}") for number in range(3)]
    attempts = [attempt(name, one.node_id) for name in "ab" for one in nodes]
    transport = reporting_together(simulation, nodes)
    events: list[object] = []
    queue = WorkQueue(attempts, nodes, anywhere, needs_nothing)

    def keep(ended: Sequence[Ended]) -> None:
        events.append(len(ended))

    Dispatcher(queue, transport, events.append, keep=keep).run()
    kinds = [one if isinstance(one, int) else type(one) for one in events]
    assert kinds[:5] == [Started, Started, Started, 3, Ended]
    assert kinds.count(Ended) == kinds.count(Started) == 6
    assert sum(kind for kind in kinds if isinstance(kind, int)) == 6


def test_the_number_stored_together_is_bounded(simulation: ModuleType) -> None:
    nodes = [node(f"n{number}") for number in range(MOST_TOGETHER + 5)]
    attempts = [attempt(f"a{one.node_id}", one.node_id) for one in nodes]
    transport = reporting_together(simulation, nodes)
    kept: list[int] = []
    queue = WorkQueue(attempts, nodes, anywhere, needs_nothing)
    Dispatcher(
        queue, transport, lambda event: None, keep=lambda ended: kept.append(len(ended))
    ).run()
    assert kept == [MOST_TOGETHER, 5]
