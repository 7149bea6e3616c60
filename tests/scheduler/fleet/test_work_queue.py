"""Work queue: the attempt that a node runs next while nodes join and leave."""

from dataclasses import replace

from made_attempts import anywhere, attempt, node, nowhere_else, queue_of, taken

from velodrome.agents.node import Gpu, Node
from velodrome.agents.task import Task
from velodrome.scheduler.fleet.attempts import (
    Attempt,
)
from velodrome.scheduler.fleet.work_queue import MAX_TRIES, WorkQueue
from velodrome.scheduler.plans.alternatives import NodeConstraint


def test_an_exclusive_task_has_its_node_to_itself() -> None:
    queue = queue_of(attempt("a"), attempt("b"))
    assert taken(queue) == {"a": "n1"}
    assert taken(queue) == {}


def test_the_next_task_of_a_node_starts_only_when_the_one_before_has_ended() -> None:
    first, second = attempt("a"), attempt("b")
    queue = queue_of(first, second)
    taken(queue)
    queue.record_finished(first)
    assert list(queue.take()) == [second]


def test_nodes_work_side_by_side() -> None:
    queue = queue_of(attempt("a"), attempt("b", "n2"), attempt("c"), nodes=2)
    assert taken(queue) == {"a": "n1", "b": "n2"}


def test_attempts_run_in_the_order_of_the_plan() -> None:
    queue = queue_of(attempt("b"), attempt("a"))
    assert taken(queue) == {"a": "n1"}


def test_tasks_that_share_fill_a_node_up_to_its_cores() -> None:
    sharing = [attempt(name, threads=3, exclusive=False) for name in "abcd"]
    assert taken(queue_of(*sharing)) == {"a": "n1", "b": "n1"}


def test_tasks_that_share_take_no_more_gpus_than_there_are() -> None:
    sharing = [
        attempt(name, device="gpu", gpu_count=1, threads=1, exclusive=False) for name in "abc"
    ]
    queue = WorkQueue(sharing, [node("n1", gpus=2)], nowhere_else)
    assert taken(queue) == {"a": "n1", "b": "n1"}


def test_tasks_that_share_wait_for_a_gpu_of_their_model() -> None:
    sharing = [
        attempt(name, device="gpu", gpu_count=1, gpu_model=model, threads=1, exclusive=False)
        for name, model in (("a", ""), ("b", ""), ("c", "T4"))
    ]
    names = ("L4", "T4", "L4")
    gpus = tuple(Gpu(number, name, f"GPU-{number}", 2**34) for number, name in enumerate(names))
    mixed = replace(node("n1"), gpus=gpus)
    assert taken(WorkQueue(sharing, [mixed], nowhere_else)) == dict.fromkeys("abc", "n1")
    one_each = replace(mixed, gpus=gpus[:2])
    assert taken(WorkQueue(sharing, [one_each], nowhere_else)) == {"a": "n1"}


def test_a_sharing_task_waits_for_an_exclusive_one_before_it() -> None:
    assert taken(queue_of(attempt("a"), attempt("b", exclusive=False))) == {"a": "n1"}


def test_small_sharing_tasks_do_not_overtake_a_large_one() -> None:
    queue = queue_of(
        attempt("a", threads=5, exclusive=False),
        attempt("b", threads=5, exclusive=False),
        attempt("c", threads=1, exclusive=False),
    )
    assert taken(queue) == {"a": "n1"}


def test_a_lost_attempt_is_tried_again_before_anything_else() -> None:
    first, second = attempt("a"), attempt("b")
    queue = queue_of(first, second)
    taken(queue)
    again = queue.record_lost(first)
    assert again is not None
    assert (again.number, again.tries) == (2, 2)
    assert list(queue.take()) == [again]


def test_a_task_that_is_lost_every_time_is_given_up() -> None:
    queue = queue_of(attempt("a"))
    tries = 0
    for work in queue.take():
        tries += 1
        queue.record_lost(work)  # type: ignore[arg-type]
    assert tries == MAX_TRIES
    assert queue.is_empty


def test_tries_are_counted_by_the_run_and_not_by_the_sweep() -> None:
    third = Attempt(Task("a", "plain", "lenet", 64), 0, "n1", number=3)
    queue = queue_of(third)
    taken(queue)
    again = queue.record_lost(third)
    assert again is not None and again.number == 4


def test_running_and_waiting_work_of_a_lost_node_moves() -> None:
    first, second = attempt("a", "n2"), attempt("b", "n2")
    queue = queue_of(first, second, nodes=2, may_run=anywhere)
    # n1 has nothing of its own, so that it takes b over at once
    assert taken(queue) == {"a": "n2", "b": "n1"}
    lost = queue.remove_node("n2")
    assert lost == (first,)
    again = queue.record_lost(first)
    assert again is not None and again.node_id == "n1"
    assert taken(queue) == {}
    queue.record_finished(attempt("b", "n1"))
    assert taken(queue) == {"a": "n1"}


def test_a_course_moves_as_a_whole() -> None:
    course = [attempt(name, "n3", course=7) for name in "abcd"]
    others = [attempt(name, where) for name in "wxyz" for where in ("n1", "n2")]
    queue = queue_of(*course, *others, nodes=3, may_run=anywhere)
    taken(queue)
    queue.remove_node("n3")
    again = queue.record_lost(course[0])
    assert again is not None
    seen = {again.node_id}
    for _ in range(20):
        for work in list(queue.take()):
            assert isinstance(work, Attempt)
            seen |= {work.node_id} if work.course == (7, "") else set()
            queue.record_finished(work)
    assert len(seen) == 1


def test_a_node_with_nothing_left_takes_over_the_next_course_not_begun() -> None:
    attempts = [attempt("a", course=1), attempt("b", course=2), attempt("c", course=3)]
    queue = queue_of(*attempts, nodes=2, may_run=anywhere)
    assert taken(queue) == {"a": "n1", "b": "n2"}


def test_a_course_that_has_begun_is_left_where_it_is() -> None:
    attempts = [attempt("a", course=1), attempt("b", course=1), attempt("c", course=1)]
    queue = queue_of(*attempts, nodes=2, may_run=anywhere)
    assert taken(queue) == {"a": "n1"}
    queue.record_finished(attempt("a", course=1))
    assert taken(queue) == {"b": "n1"}


def test_nothing_is_taken_over_by_a_node_that_may_not_run_it() -> None:
    queue = queue_of(attempt("a"), attempt("b"), nodes=2)
    assert taken(queue) == {"a": "n1"}


def test_an_attempt_bound_to_a_node_waits_until_it_returns() -> None:
    bound = Attempt(
        Task("a", "plain", "lenet", 64), 0, "n1", constraint=NodeConstraint(node_id="n1")
    )
    queue = WorkQueue([bound], [node("n1"), node("n2")], anywhere)
    assert taken(queue) == {"a": "n1"}
    queue.remove_node("n1")
    again = queue.record_lost(bound)
    assert again is not None and queue.list_parked() == (again,)
    assert queue.is_waiting_for_nodes
    queue.add_node(node("n1"))
    assert list(queue.take()) == [again]
    assert not queue.is_waiting_for_nodes


def test_an_attempt_without_a_node_is_parked_until_one_joins_or_it_is_given_up() -> None:
    queue = WorkQueue([attempt("a", "absent"), attempt("b", "absent")], [node("n1")], nowhere_else)
    assert taken(queue) == {}
    assert queue.is_waiting_for_nodes
    assert [one.task.framework for one in queue.give_up()] == ["a", "b"]
    assert queue.is_empty


def test_a_node_that_returns_with_other_hardware_gets_only_suitable_work() -> None:
    def large(attempt: Attempt, node: Node) -> bool:
        return node.physical == 8

    first = attempt("a")
    queue = WorkQueue([first], [node("n1")], large)
    taken(queue)
    queue.remove_node("n1")
    queue.record_lost(first)
    queue.add_node(node("n1", cores=4))
    assert taken(queue) == {}
    queue.add_node(node("n2"))
    assert taken(queue) == {"a": "n2"}


def test_the_queue_does_not_wait_for_nodes_while_something_runs() -> None:
    queue = WorkQueue([attempt("a"), attempt("b", "absent")], [node("n1")], nowhere_else)
    taken(queue)
    assert not queue.is_waiting_for_nodes
    queue.record_finished(attempt("a"))
    assert queue.is_waiting_for_nodes


def test_withdrawn_attempts_never_start_and_running_ones_finish() -> None:
    queue = queue_of(attempt("a"), attempt("b"), attempt("c", "gone"))
    assert taken(queue) == {"a": "n1"}
    assert {one.task.framework for one in queue.withdraw()} == {"b", "c"}
    assert not queue.is_empty
    queue.record_finished(attempt("a"))
    assert queue.is_empty
