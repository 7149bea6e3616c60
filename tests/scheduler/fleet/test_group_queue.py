"""Work queue: attempts that need several nodes at once, while these join, leave and work."""

from dataclasses import replace

from velodrome.agents.node import Core, Node
from velodrome.agents.task import Task
from velodrome.scheduler.fleet.attempts import (
    Attempt,
    EnvironmentNeed,
    EnvironmentOutcome,
    Preparation,
    RefusedAttempt,
)
from velodrome.scheduler.fleet.work_queue import WorkQueue
from velodrome.scheduler.plans.alternatives import NodeConstraint

NEED = EnvironmentNeed("torch", "cpu")


def node(name: str, cpu: str = "a CPU") -> Node:
    return Node(name, name, cpu, (Core(0, (0,)),), 2**34, ())


def attempt(name: str, nodes: int = 2, where: str = "n1", course: int = 0) -> Attempt:
    """Order is that of the alphabet."""
    order = ord(name)
    task = Task(name, "plain", "lenet", 64, nodes=nodes)
    return Attempt(task, 0, where, course=(course or order, ""), order=order)


def queue_of(*attempts: Attempt, nodes: int = 2, needs: tuple[EnvironmentNeed, ...] = ()):
    present = [node(f"n{number + 1}") for number in range(nodes)]
    return WorkQueue(attempts, present, lambda attempt, node: True, lambda attempt: needs)


def take(queue: WorkQueue) -> list[Attempt]:
    return [work for work in queue.take() if isinstance(work, Attempt)]


def test_it_starts_on_both_nodes_which_then_do_nothing_else() -> None:
    queue = queue_of(attempt("a"), attempt("b"))
    (started,) = take(queue)
    assert started.node_ids == ("n1", "n2")
    assert take(queue) == []
    queue.record_finished(started)
    assert [work.task.framework for work in take(queue)] == ["b"]


def test_no_node_waits_for_another() -> None:
    """What runs on one node alone is not held up, and the group starts when both are free."""
    queue = queue_of(attempt("a"), attempt("b", 1, "n1"), attempt("c", 1, "n1", course=7))
    alone = {work.node_id: work for work in take(queue)}
    assert [work.task.nodes for work in alone.values()] == [1, 1]
    queue.record_finished(alone["n1"])
    assert take(queue) == []
    queue.record_finished(alone["n2"])
    (group,) = take(queue)
    assert group.task.nodes == 2
    queue.record_finished(group)
    assert queue.is_empty


def test_nodes_of_different_types_do_not_share_a_task() -> None:
    present = [node("n1"), node("n2", "another CPU"), node("n3", "another CPU")]
    queue = WorkQueue([attempt("a")], present, lambda attempt, node: True)
    (started,) = take(queue)
    assert started.node_ids == ("n2", "n3")


def test_it_is_parked_while_there_are_too_few_nodes() -> None:
    queue = queue_of(attempt("a"), nodes=1)
    assert take(queue) == []
    assert [work.task.framework for work in queue.list_parked()] == ["a"]
    assert queue.is_waiting_for_nodes
    queue.add_node(node("n2"))
    assert queue.list_parked() == ()
    (started,) = take(queue)
    assert started.node_ids == ("n1", "n2")


def test_it_is_given_up_with_the_parked_ones() -> None:
    queue = queue_of(attempt("a"), nodes=1)
    assert [work.task.framework for work in queue.give_up()] == ["a"]
    assert queue.is_empty


def test_it_is_withdrawn_when_the_time_is_over() -> None:
    queue = queue_of(attempt("a"), attempt("b"))
    (started,) = take(queue)
    assert [work.task.framework for work in queue.withdraw()] == ["b"]
    queue.record_finished(started)
    assert queue.is_empty


def test_the_loss_of_one_node_is_that_of_the_whole_attempt_which_then_waits_for_another() -> None:
    queue = queue_of(attempt("a"))
    (started,) = take(queue)
    assert queue.remove_node("n2") == (started,)
    again = queue.record_lost(started)
    assert again is not None
    assert (again.number, again.partners) == (2, ())
    assert take(queue) == []
    queue.add_node(node("n3"))
    (second,) = take(queue)
    assert second.node_ids == ("n1", "n3")


def test_a_retried_attempt_comes_first() -> None:
    queue = queue_of(attempt("a"), attempt("b"))
    (first,) = take(queue)
    queue.record_lost(first)
    assert [(work.task.framework, work.number) for work in take(queue)] == [("a", 2)]


def test_all_its_nodes_build_the_environment_before_it_starts() -> None:
    queue = queue_of(attempt("a"), needs=(NEED,))
    builds = list(queue.take())
    assert builds == [Preparation("n1", (NEED,)), Preparation("n2", (NEED,))]
    queue.record_prepared(builds[0], [EnvironmentOutcome(NEED)])
    assert list(queue.take()) == []
    queue.record_prepared(builds[1], [EnvironmentOutcome(NEED)])
    assert len(take(queue)) == 1


def test_a_node_that_cannot_build_the_environment_is_passed_over() -> None:
    queue = queue_of(attempt("a"), nodes=3, needs=(NEED,))
    first, second = queue.take()
    queue.record_prepared(first, [EnvironmentOutcome(NEED, "no compiler")])
    queue.record_prepared(second, [EnvironmentOutcome(NEED)])
    (third,) = queue.take()
    assert third == Preparation("n3", (NEED,))
    queue.record_prepared(third, [EnvironmentOutcome(NEED)])
    (started,) = take(queue)
    assert set(started.node_ids) == {"n2", "n3"}


def test_it_is_refused_if_too_few_nodes_can_build_the_environment() -> None:
    queue = queue_of(attempt("a"), needs=(NEED,))
    first, second = queue.take()
    queue.record_prepared(first, [EnvironmentOutcome(NEED, "no compiler")])
    queue.record_prepared(second, [EnvironmentOutcome(NEED)])
    (refused,) = queue.take()
    assert isinstance(refused, RefusedAttempt)
    assert (refused.attempt.node_id, refused.outcome.reason) == ("n1", "no compiler")
    assert queue.is_empty


def test_what_is_compared_runs_on_the_same_nodes() -> None:
    first, second = attempt("a", course=1), attempt("b", course=1)
    queue = queue_of(first, replace(second, node_id="n3"), nodes=4)
    (started,) = (work for work in take(queue) if work.task.framework == "a")
    assert started.node_ids == ("n1", "n2")
    queue.record_finished(started)
    (other,) = take(queue)
    assert other.node_ids == ("n1", "n2")


def test_a_pair_runs_on_its_two_nodes_and_on_no_others() -> None:
    pair = replace(attempt("a"), constraint=NodeConstraint(pair=("n1", "n3")))
    present = [node(f"n{number}") for number in (1, 2, 3)]

    def is_of_pair(attempt: Attempt, node: Node) -> bool:
        return node.node_id in attempt.constraint.pair

    queue = WorkQueue([pair], present, is_of_pair)
    (started,) = take(queue)
    assert started.node_ids == ("n1", "n3")
    queue.remove_node("n3")
    queue.record_lost(started)
    assert take(queue) == []
    assert len(queue.list_parked()) == 1
