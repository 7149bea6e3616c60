"""Work queue: the attempt that a node runs next while nodes join and leave."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from velodrome.agents.node import Core, Gpu, Node
from velodrome.agents.task import Task
from velodrome.scheduler.fleet.attempts import (
    Attempt,
    EnvironmentNeed,
    EnvironmentOutcome,
    Preparation,
    RefusedAttempt,
)
from velodrome.scheduler.fleet.work_queue import MAX_TRIES, WorkQueue
from velodrome.scheduler.plans.alternatives import NodeConstraint


def node(name: str, cores: int = 8, gpus: int = 0) -> Node:
    return Node(
        node_id=name,
        hostname=name,
        cpu_model="a CPU",
        cores=tuple(Core(number, (number,)) for number in range(cores)),
        ram_bytes=2**34,
        gpus=tuple(Gpu(number, "a GPU", f"{name}-{number}", 2**34) for number in range(gpus)),
    )


def attempt(name: str, where: str = "n1", *, course: int | None = None, **task: object) -> Attempt:
    """Each in a course of its own, by default; order is that of the alphabet."""
    order = ord(name[0])
    number = order if course is None else course
    made = Task(name, "plain", "lenet", 64, **task)  # type: ignore[arg-type]
    return Attempt(made, 0, where, course=(number, ""), order=order)


def anywhere(attempt: Attempt, node: Node) -> bool:
    return True


def nowhere_else(attempt: Attempt, node: Node) -> bool:
    return False


def queue_of(
    *attempts: Attempt, nodes: int = 1, may_run: Callable[[Attempt, Node], bool] = nowhere_else
) -> WorkQueue:
    return WorkQueue(attempts, [node(f"n{number + 1}") for number in range(nodes)], may_run)


def taken(queue: WorkQueue) -> dict[str, str]:
    """What starts now, by framework, and where."""
    return {work.task.framework: work.node_id for work in queue.take() if isinstance(work, Attempt)}


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


NEED = EnvironmentNeed("a", "cpu")


def needs(attempt: Attempt) -> tuple[EnvironmentNeed, ...]:
    return (EnvironmentNeed(attempt.task.framework, "cpu"),)


def test_environments_are_built_once_before_a_nodes_first_task_and_all_together() -> None:
    queue = WorkQueue([attempt("a"), attempt("b"), attempt("a")], [node("n1")], nowhere_else, needs)
    (preparation,) = queue.take()
    assert preparation == Preparation("n1", (NEED, EnvironmentNeed("b", "cpu")))
    assert list(queue.take()) == []
    queue.record_prepared(preparation, [EnvironmentOutcome(need) for need in preparation.needs])
    assert taken(queue) == {"a": "n1"}


def test_a_task_whose_environment_failed_is_refused_and_the_others_run() -> None:
    queue = WorkQueue([attempt("a"), attempt("b")], [node("n1")], nowhere_else, needs)
    (preparation,) = queue.take()
    assert isinstance(preparation, Preparation)
    failed = EnvironmentOutcome(NEED, "no such package")
    queue.record_prepared(preparation, [failed, EnvironmentOutcome(EnvironmentNeed("b", "cpu"))])
    assert list(queue.take()) == [RefusedAttempt(attempt("a"), failed), attempt("b")]
    queue.record_finished(attempt("b"))
    assert queue.is_empty


def carried_out(
    queue: WorkQueue, broken: set[str]
) -> tuple[dict[str, str], list[RefusedAttempt], list[Preparation]]:
    """Until all has ended, where what ran. broken: nodes on which nothing can be built."""
    ran: dict[str, str] = {}
    refused: list[RefusedAttempt] = []
    built: list[Preparation] = []
    while not queue.is_empty:
        for work in list(queue.take()):
            if isinstance(work, RefusedAttempt):
                refused.append(work)
            elif isinstance(work, Preparation):
                built.append(work)
                why = "the disk is full" * (work.node_id in broken)
                queue.record_prepared(work, [EnvironmentOutcome(need, why) for need in work.needs])
            else:
                assert work.task.framework not in ran
                ran[work.task.framework] = work.node_id
                queue.record_finished(work)
    return ran, refused, built


def test_an_attempt_moves_to_a_node_that_can_build_its_environment() -> None:
    nodes = [node("n1"), node("n2"), node("n3")]
    queue = WorkQueue([attempt("a"), attempt("b"), attempt("c")], nodes, anywhere, needs)
    ran, refused, _ = carried_out(queue, {"n1"})
    assert ran.keys() == {"a", "b", "c"}
    assert "n1" not in ran.values()
    assert refused == []


def test_an_environment_that_fails_everywhere_is_built_once_per_node() -> None:
    nodes = [node(f"n{number}") for number in range(1, 9)]
    alike = [replace(attempt("a", course=0), repeat=repeat) for repeat in range(5)]
    queue = WorkQueue(alike, nodes, anywhere, needs)
    ran, refused, built = carried_out(queue, {one.node_id for one in nodes})
    assert (ran, len(refused)) == ({}, 5)
    assert len({one.node_id for one in built}) == len(built)


def test_no_third_node_tries_an_environment_that_failed_on_two() -> None:
    nodes = [node(f"n{number}") for number in range(1, 5)]
    busy = [attempt(chr(98 + number), one.node_id) for number, one in enumerate(nodes)]
    queue = WorkQueue([*busy, attempt("z", "n1")], nodes, anywhere, needs)
    failed = EnvironmentNeed("z", "cpu")
    tried = []
    for _ in range(20):
        for work in list(queue.take()):
            if isinstance(work, Preparation):
                tried += [work.node_id] * (failed in work.needs)
                why = {failed: "no such package"}
                queue.record_prepared(
                    work, [EnvironmentOutcome(one, why.get(one, "")) for one in work.needs]
                )
            elif isinstance(work, Attempt) and work.node_id == "n1":
                queue.record_finished(work)  # the others measure for a long time
    assert len(tried) <= 2


def test_a_task_bound_to_a_node_is_refused_even_if_others_have_its_environment() -> None:
    bound = replace(attempt("a"), constraint=NodeConstraint(node_id="n1"))
    queue = WorkQueue([bound, attempt("b", "n2")], [node("n1"), node("n2")], anywhere, needs)
    ran, refused, _ = carried_out(queue, {"n1"})
    assert ran == {"b": "n2"}
    assert [one.attempt.task.framework for one in refused] == ["a"]


@given(
    st.lists(st.sampled_from(["n1", "n2", "n3", "n4"]), min_size=1, max_size=20),
    st.sets(st.sampled_from(["n1", "n2", "n3", "n4"])),
    st.integers(1, 4),
)
def test_every_attempt_ends_once_wherever_environments_fail(
    places: list[str], broken: set[str], courses: int
) -> None:
    nodes = [node(f"n{number}") for number in range(1, 5)]
    attempts = [
        attempt(chr(97 + number), place, course=number % courses)
        for number, place in enumerate(places)
    ]
    ran, refused, _ = carried_out(WorkQueue(attempts, nodes, anywhere, needs), broken)
    names = [one.attempt.task.framework for one in refused]
    assert sorted([*ran, *names]) == [one.task.framework for one in attempts]
    assert not broken & set(ran.values())
    assert broken or not refused


def test_no_environment_is_built_while_something_is_measured_on_the_node() -> None:
    late = attempt("z", "n2")
    queue = WorkQueue([attempt("a"), attempt("b"), late], [node("n1"), node("n2")], anywhere, needs)
    preparations = [work for work in queue.take() if isinstance(work, Preparation)]
    for one in preparations:
        queue.record_prepared(one, [EnvironmentOutcome(need) for need in one.needs])
    running = [work for work in queue.take() if isinstance(work, Attempt)]
    queue.remove_node("n2")
    for work in running:
        if work.node_id == "n2":
            queue.record_lost(work)
    # what came to n1 needs what does not stand there, and n1 measures
    assert list(queue.take()) == []
    queue.record_finished(next(work for work in running if work.node_id == "n1"))
    starts = list(queue.take())
    assert len(starts) == 1


def test_an_interrupted_preparation_is_tried_again() -> None:
    queue = WorkQueue([attempt("a")], [node("n1")], nowhere_else, needs)
    (preparation,) = queue.take()
    assert isinstance(preparation, Preparation)
    queue.record_interrupted(preparation, "it broke off")
    assert list(queue.take()) == [preparation]


def test_a_preparation_on_a_node_that_is_gone_is_made_where_its_attempts_go() -> None:
    queue = WorkQueue([attempt("a", "n2")], [node("n2")], anywhere, needs)
    (preparation,) = queue.take()
    assert queue.remove_node("n2") == (preparation,)
    assert isinstance(preparation, Preparation)
    queue.record_interrupted(preparation, "it broke off")
    queue.add_node(node("n1"))
    assert list(queue.take()) == [Preparation("n1", (NEED,))]


def test_withdrawn_attempts_never_start_and_running_ones_finish() -> None:
    queue = queue_of(attempt("a"), attempt("b"), attempt("c", "gone"))
    assert taken(queue) == {"a": "n1"}
    assert {one.task.framework for one in queue.withdraw()} == {"b", "c"}
    assert not queue.is_empty
    queue.record_finished(attempt("a"))
    assert queue.is_empty
