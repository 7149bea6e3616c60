"""Explanations of a plan: where each task runs, and why not on other nodes."""

from dataclasses import replace

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.node import Core, Gpu, Node
from velodrome.scheduler.plans.explanations import TaskExplanation, UnsuitableNodes, explain_plan
from velodrome.scheduler.plans.placement import make_plan
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep_file import parse_sweep


def node(name: str, cores: int = 4, gpu: str = "") -> Node:
    gpus = (Gpu(0, gpu, f"{name}-0", 0),) if gpu else ()
    return Node(name, name, "CPU", tuple(Core(n, (n,)) for n in range(cores)), 2**34, gpus=gpus)


def explained(text: str, *nodes: Node) -> list[TaskExplanation]:
    sweep = parse_sweep(f"frameworks: [torch]\nmodels: [lenet]\n{text}", "s.yaml", FRAMEWORKS)
    return list(explain_plan(make_plan(expand_cells(sweep), sweep, nodes, {}), sweep, nodes))


NODES = (node("a"), node("b"), node("big", 16), node("l4", 8, "NVIDIA L4"))


def test_nodes_with_the_same_shortage_are_grouped() -> None:
    (one,) = explained("threads: [1]\ndevices: [{gpu: L4}]\nwhere: each-node\nrepeats: 2", *NODES)
    assert (one.nodes, one.repeats, one.reason) == (("l4",), 2, "")
    lacks = ("1 GPU of model L4",), ("needs 1 GPU of model L4, has none",)
    assert one.elsewhere == (UnsuitableNodes(("a", "b", "big"), *lacks),)


def test_every_condition_that_fails_is_named() -> None:
    (one,) = explained("threads: [8]\ndevices: [gpu]", *NODES)
    assert one.nodes == ("l4",)
    assert one.elsewhere[0].nodes == ("a", "b")
    assert one.elsewhere[0].reasons == (
        "needs 8 threads, has 4 cores",
        "needs 1 GPU, has none",
    )
    assert one.elsewhere[1].reasons == ("needs 1 GPU, has none",)


def test_the_model_that_a_task_uses_on_a_node_of_several_is_named() -> None:
    gpus = tuple(Gpu(index, f"NVIDIA {name}", name, 0) for index, name in enumerate(("T4", "L4")))
    mixed = replace(node("mixed"), gpus=gpus)
    (one,) = explained("threads: [1]\ndevices: [gpu]\nwhere: each-node", mixed, node("l4", 4, "L4"))
    assert dict(zip(one.nodes, one.gpus, strict=True)) == {"l4": "", "mixed": "NVIDIA T4"}
    (each,) = explained("threads: [1]\ndevices: [gpu]\nwhere: each-gpu", mixed)
    assert each.gpus == ("NVIDIA T4, NVIDIA L4",)


def test_a_suitable_node_that_was_not_chosen_lacks_nothing() -> None:
    (one,) = explained("threads: [1]", node("a"), node("b"))
    assert one.nodes == ("a",)
    assert one.elsewhere == (UnsuitableNodes(("b",), (), ("also suitable",)),)


def test_an_unplaceable_task_is_explained_for_every_node() -> None:
    (one,) = explained("threads: [physical]\ndevices: [{gpu: H100}]", *NODES)
    assert one.nodes == ()
    assert one.reason.startswith("needs 1 GPU of model H100, the nodes have NVIDIA L4; nearest:")
    assert [(entry.nodes, entry.reasons) for entry in one.elsewhere] == [
        (("a", "b", "big"), ("needs 1 GPU of model H100, has none",)),
        (("l4",), ("needs 1 GPU of model H100, has NVIDIA L4",)),
    ]
