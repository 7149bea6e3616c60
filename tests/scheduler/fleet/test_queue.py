from velodrome.agents.task import Task
from velodrome.scheduler.fleet.queue import MAX_ATTEMPTS, Attempt, Queue


def attempt(name: str, node: str = "n1", *, threads: int = 1, exclusive: bool = True) -> Attempt:
    task = Task(name, "plain", "lenet", 64, threads=threads, exclusive=exclusive)
    return Attempt(task, 0, node)


def frameworks(attempts: tuple[Attempt, ...]) -> list[str]:
    return [one.task.framework for one in attempts]


def test_an_exclusive_task_has_its_node_to_itself() -> None:
    queue = Queue([attempt("a"), attempt("b")], {"n1": 8})
    assert frameworks(queue.take()) == ["a"]
    assert queue.take() == ()


def test_the_next_task_of_a_node_starts_only_when_the_one_before_has_ended() -> None:
    first, second = attempt("a"), attempt("b")
    queue = Queue([first, second], {"n1": 8})
    queue.take()
    queue.finished(first)
    assert queue.take() == (second,)


def test_nodes_work_side_by_side() -> None:
    queue = Queue([attempt("a", "n1"), attempt("b", "n2"), attempt("c", "n1")], {"n1": 1, "n2": 1})
    assert frameworks(queue.take()) == ["a", "b"]


def test_tasks_that_share_fill_a_node_up_to_its_cores() -> None:
    sharing = [attempt(name, threads=2, exclusive=False) for name in "abcd"]
    queue = Queue(sharing, {"n1": 5})
    assert frameworks(queue.take()) == ["a", "b"]


def test_a_sharing_task_waits_for_an_exclusive_one_before_it() -> None:
    shared = attempt("b", exclusive=False)
    queue = Queue([attempt("a"), shared], {"n1": 8})
    assert frameworks(queue.take()) == ["a"]


def test_a_lost_attempt_is_tried_again_before_anything_else() -> None:
    first, second = attempt("a"), attempt("b")
    queue = Queue([first, second], {"n1": 1})
    queue.take()
    again = queue.lost(first)
    assert again is not None
    assert again.number == 2
    assert queue.take() == (again,)


def test_a_task_that_is_lost_every_time_is_given_up() -> None:
    queue = Queue([attempt("a")], {"n1": 1})
    tries = 0
    while taken := queue.take():
        tries += 1
        queue.lost(taken[0])
    assert tries == MAX_ATTEMPTS
    assert queue.is_empty


def test_a_queue_is_empty_only_when_nothing_runs_any_more() -> None:
    only = attempt("a")
    queue = Queue([only], {"n1": 1})
    queue.take()
    assert not queue.is_empty
    queue.finished(only)
    assert queue.is_empty
