"""The share of a node's price that a task pays."""

import pytest

from velodrome.agents.node import Core, Gpu, Node
from velodrome.agents.node_prices import price_task
from velodrome.agents.task import Task

NODE = Node(
    "n",
    "host",
    "CPU",
    tuple(Core(core, (core, core + 4)) for core in range(4)),
    2**34,
    gpus=tuple(Gpu(number, "NVIDIA L4", f"GPU-{number}", 2**34) for number in range(8)),
    price_per_hour=16.0,
    price_currency="USD",
)


def price(**changes: object) -> float:
    found = price_task(Task("torch", "eager", "lenet", 8, **changes), NODE)  # type: ignore[arg-type]
    assert found is not None
    assert (found.node_per_hour, found.currency) == (16.0, "USD")
    return found.task_per_hour


def test_a_task_on_one_of_eight_gpus_pays_an_eighth() -> None:
    assert price(device="gpu", gpu_count=1) == 2.0
    assert price(device="gpu", gpu_count=8) == 16.0


def test_a_task_alone_on_its_cpus_pays_the_whole_node() -> None:
    assert price(threads=1) == 16.0


@pytest.mark.parametrize(("threads", "expected"), [(1, 4.0), (4, 16.0), (8, 16.0)])
def test_a_task_beside_others_pays_by_its_cores(threads: int, expected: float) -> None:
    assert price(threads=threads, exclusive=False) == expected


def test_a_node_without_a_price_costs_nothing_that_is_known() -> None:
    free = Node("n", "host", "CPU", NODE.cores, 2**34)
    assert price_task(Task("numpy", "float32", "lenet", 8), free) is None
