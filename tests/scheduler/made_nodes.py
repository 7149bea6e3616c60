"""Nodes for plans: only what decides where a task fits."""

from velodrome.agents.node import Core, Gpu, Node


def node(
    name: str,
    cores: int = 4,
    *,
    smt: int = 1,
    gib: int = 16,
    gpus: tuple[str, ...] = (),
    labels: tuple[tuple[str, str], ...] = (),
) -> Node:
    return Node(
        node_id=name,
        hostname=f"host-{name}",
        cpu_model="CPU",
        cores=tuple(
            Core(core, tuple(range(core * smt, core * smt + smt))) for core in range(cores)
        ),
        ram_bytes=gib * 2**30,
        gpus=tuple(
            Gpu(index, gpu, f"{name}-gpu{index}", 80 * 2**30) for index, gpu in enumerate(gpus)
        ),
        labels=labels,
    )
