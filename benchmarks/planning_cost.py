"""The cost of planning 100,000 runs on 1,000 nodes of 10 types, by each rule of `where`.

The bounds are 10 s and 1 GiB. Other parts of scale.py use the same sweeps and fleet.
"""

import resource
import time
from collections.abc import Sequence

from velodrome.agents.node import Core, Gpu, Node
from velodrome.scheduler.plans.placement import make_plan
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep import Device, Entrant, PlacementRule, Sweep, ThreadRule

PROMISED_S, PROMISED_MIB = 10.0, 1024
MODELS = ("lenet", "alexnet", "alexnet-plain", "lstm", "gemm")
NODES = 1000
# Of each type: cores, GPUs and their model, memory.
TYPES = (
    (4, 0, "", 16),
    (8, 0, "", 32),
    (16, 0, "", 64),
    (32, 0, "", 128),
    (64, 0, "", 256),
    (8, 1, "NVIDIA L4", 64),
    (16, 2, "NVIDIA L40S", 128),
    (32, 2, "NVIDIA A100-SXM4-80GB", 256),
    (64, 4, "NVIDIA A100-SXM4-80GB", 512),
    (96, 8, "NVIDIA H100 80GB HBM3", 1024),
)


def fleet(count: int = NODES) -> tuple[Node, ...]:
    return tuple(_node(number) for number in range(count))


def large_sweep(where: PlacementRule, frameworks: int = 10) -> Sweep:
    """Make a sweep of 100,000 runs on 1,000 nodes. frameworks: compared on one node each time."""
    if where is PlacementRule.ANY:
        return _sweep(where, frameworks, batch_sizes=10_000 // frameworks)
    if where is PlacementRule.EACH_TYPE:
        return _sweep(where, frameworks=10, batch_sizes=133)
    if where is PlacementRule.EACH_NODE:
        return _sweep(where, frameworks=10, batch_sizes=2, devices=(Device(),))
    return _sweep(where, frameworks=12, batch_sizes=1, devices=(Device("gpu", 1),))


def figures(where: PlacementRule) -> dict[str, object]:
    """Plan and return the figures. Run it in its own process: the peak is that of planning."""
    nodes, sweep = fleet(), large_sweep(where)
    before_mib = peak_mib()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    cells = expand_cells(sweep)
    made = make_plan(cells, sweep, nodes, {})
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return {
        "where": where.value,
        "nodes": len(nodes),
        "cells": len(cells),
        "placed": len(made.placements),
        "unplaceable": len(made.unplaceable),
        "cpu_s": round(cpu_s, 2),
        "wall_s": round(wall_s, 2),
        "peak_mib": round(peak_mib()),
        "peak_before_mib": round(before_mib),
        "keeps_promise": wall_s <= PROMISED_S and peak_mib() <= PROMISED_MIB,
    }


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _sweep(
    where: PlacementRule,
    frameworks: int,
    batch_sizes: int,
    threads: Sequence[int | ThreadRule] = (1,),
    devices: Sequence[Device] = (Device(), Device("gpu", 1)),
) -> Sweep:
    sizes = tuple(range(1, batch_sizes + 1))
    return Sweep(
        name="large",
        entrants=tuple(
            Entrant(f"framework{n}", ("default",), ("cpu", "gpu")) for n in range(frameworks)
        ),
        models=MODELS,
        batch_sizes=tuple((model, sizes) for model in MODELS),
        threads=tuple(threads),
        devices=tuple(devices),
        where=where,
        repeats=1,
    )


def _node(number: int) -> Node:
    name = f"n{number}"
    cores, gpus, model, gib = TYPES[number % len(TYPES)]
    return Node(
        name,
        f"host-{name}",
        f"a CPU of {cores} cores",
        tuple(Core(core, (core,)) for core in range(cores)),
        gib * 2**30,
        gpus=tuple(Gpu(index, model, f"{name}-{index}", 80 * 2**30) for index in range(gpus)),
    )
