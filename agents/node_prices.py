"""The price of a task: its share of the price of its node. Pure."""

from velodrome.agents.measurement import NodePrice
from velodrome.agents.node import Node
from velodrome.agents.task import Task


def price_task(task: Task, node: Node) -> NodePrice | None:
    """Return the price of a task's share of its node per hour; None if the node has none."""
    if node.price_per_hour is None:
        return None
    share = compute_share(task, node)
    return NodePrice(node.price_per_hour, node.price_per_hour * share, node.price_currency)


def compute_share(task: Task, node: Node) -> float:
    """Return the share of a node that a task pays for.

    On GPUs: its GPUs over the node's, since the others can work for somebody else. On a CPU: all of
    it, since it runs alone; if it does not, its threads over the cores. At most 1.
    """
    if task.device == "gpu" and node.gpus:
        return min(1.0, task.gpu_count / len(node.gpus))
    if task.exclusive or not node.cores:
        return 1.0
    return min(1.0, task.total_threads / node.physical)
