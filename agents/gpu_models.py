"""The GPUs of a node that a task may use: all of one model, so that repeats are comparable."""

from collections.abc import Iterable

from velodrome.agents.node import Gpu


def group_by_model(gpus: Iterable[Gpu], model: str, count: int) -> list[tuple[Gpu, ...]]:
    """Group the GPUs that a task with `count` GPUs can use by their name, in the driver's order.

    model: words of the name; empty: any. Several GPUs are never MIG instances, of which CUDA shows
    a process only one. Instances of different sizes have different names.
    """
    groups: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        if gpu.matches(model) and (count <= 1 or not gpu.is_mig_instance):
            groups.setdefault(gpu.name, []).append(gpu)
    return [tuple(group) for group in groups.values()]


def select_gpus(gpus: Iterable[Gpu], model: str, count: int) -> tuple[Gpu, ...]:
    """Select the model of which there are most, of equals the one with most memory, then the first.

    The plan and the agent select by this function, so that all repeats of a task on a node, and its
    cells on one and on several GPUs, run on one model.
    """
    groups = group_by_model(gpus, model, count)
    return max(groups, key=lambda group: (len(group), group[0].memory_bytes), default=())
