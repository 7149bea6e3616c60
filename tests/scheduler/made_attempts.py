"""Nodes, attempts and a work queue for them; attempts are named by letters, in their order."""

from collections.abc import Callable

from velodrome.agents.node import Core, Gpu, Node
from velodrome.agents.task import Task
from velodrome.scheduler.fleet.attempts import (
    Attempt,
)
from velodrome.scheduler.fleet.work_queue import WorkQueue


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
