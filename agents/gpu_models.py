"""The GPUs of a node that a task may use: all of one model, so that repeats are comparable."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from velodrome.agents.measurement import Measurement
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


def with_gpus(measurement: Measurement, gpus: Sequence[Gpu]) -> Measurement:
    """Return the measurement with the identity and the place of its task's GPUs."""
    capabilities = [gpu.compute_capability for gpu in gpus if gpu.compute_capability]
    return replace(
        measurement,
        gpu_name=", ".join(gpu.name for gpu in gpus),
        gpu_uuids=tuple(gpu.uuid for gpu in gpus),
        gpu_compute_capability=", ".join(dict.fromkeys(capabilities)),
        gpu_numa_nodes=tuple(gpu.numa_node for gpu in gpus),
    )
