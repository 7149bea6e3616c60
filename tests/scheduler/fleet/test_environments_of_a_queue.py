"""Work queue: environments are built before tasks, and attempts move where that fails."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from made_attempts import anywhere, attempt, node, nowhere_else, taken

from velodrome.scheduler.fleet.attempts import (
    Attempt,
    EnvironmentNeed,
    EnvironmentOutcome,
    Preparation,
    RefusedAttempt,
)
from velodrome.scheduler.fleet.work_queue import WorkQueue
from velodrome.scheduler.plans.alternatives import NodeConstraint

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
