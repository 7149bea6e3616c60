"""Fleets of machines that ran the same cells, as measurements, from the seed that a test gives."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from made_measurements import make_measurement, make_times

from velodrome.agents.measurement import Measurement
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE
from velodrome.scheduler.results.store import Store

SWEEP = "20261124-063012-a1b2"
MODELS = ("lenet", "lstm", "alexnet", "gemm-1024", "copy", "resnet50-tiny")
REPEATS = 3


def make_node(number: int, ms: Mapping[str, float], **columns: object) -> list[Measurement]:
    """Make three repeats of each model on one node. ms: times by model."""
    own = {"node_id": f"n{number}", "hostname": f"host{number}", "cpu_model": "Some CPU"}
    return [
        make_measurement(
            model=model,
            repeat=REPEATS * number + repeat,
            **(own | make_times(time_ms, 3 * time_ms) | columns),
        )
        for model, time_ms in ms.items()
        for repeat in range(REPEATS)
    ]


def make_fleet(
    nodes: int,
    slow: Mapping[int, float] | None = None,
    seed: int = 1,
    first: int = 0,
    models: Sequence[str] = MODELS,
    **columns: object,
) -> list[Measurement]:
    """Make nodes that differ by 1 % in each cell. slow: factors of some, by their number."""
    draw = random.Random(seed)
    fleet: list[Measurement] = []
    for number in range(first, first + nodes):
        factor = (slow or {}).get(number, 1.0)
        times = {model: 10 * factor * draw.gauss(1, 0.01) for model in models}
        fleet += make_node(number, times, **columns)
    return fleet


def make_gpus(count: int, slow: Mapping[int, float], seed: int = 1) -> list[Measurement]:
    """Make the GPUs of one node, each with three repeats of each model."""
    fleet: list[Measurement] = []
    for number in range(count):
        times = make_fleet(1, {number: slow.get(number, 1.0)}, seed + number, number, device="gpu")
        columns = {"node_id": "n1", "hostname": "host1", "gpu_uuids": (f"GPU-{number}",)}
        fleet += [
            replace(one, task=replace(one.task, gpu_count=1), gpu_name="NVIDIA H100", **columns)
            for one in times
        ]
    return fleet


def put(store: Store, measurements: Iterable[Measurement], sweep_id: str = SWEEP) -> None:
    """Write a sweep as the driver does."""
    with store.hold_sweep(sweep_id):
        store.put_all(sweep_id, [(one, TO_AGREE) for one in measurements])
