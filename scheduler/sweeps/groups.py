"""Settings `processes`, `nodes` and `scaling` of a sweep: tasks whose devices share each batch.

Strong scaling keeps the whole batch of a model for any number of devices; weak scaling keeps the
batch of each device. A task's batch size is that of all its devices together in both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.collectives import find_fault
from velodrome.adapters.models.copies import find_copy_fault
from velodrome.adapters.models.shared_batches import find_single_device_work
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps import quantities, settings, value_parsers
from velodrome.scheduler.sweeps.sweep import (
    BatchSize,
    BatchSizeRule,
    Device,
    PlacementRule,
    Scaling,
    Sweep,
)
from velodrome.scheduler.sweeps.yaml_nodes import Fields, Items, Value

PROCESSES_EXAMPLE = "[1, 2]"
MOST_NODES = 1024


def read_scaling(value: Value, name: str) -> tuple[Scaling, ...]:
    """Read `strong`, `weak`, or a list of both."""
    words = [scaling.value for scaling in Scaling]
    items = value.items if isinstance(value, Items) and value.items else (value,)
    found = {value_parsers.read_one_of(item, name, "kind of scaling", words) for item in items}
    return tuple(scaling for scaling in Scaling if scaling in found)


def add_processes(value: Value | None, devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """Return the devices, `cpu` once per number of processes. value: of `processes`, if given.

    ConfigError if a device says its own number as well, or if none is a CPU.
    """
    if value is None:
        return devices
    if any(device.processes > 1 for device in devices):
        problem = "`processes` and `devices` both give numbers of processes"
        raise ConfigError(value.place, problem, "Write `cpu` in `devices`, or leave this out.")
    if not any(device.kind == "cpu" for device in devices):
        problem = "no device is a CPU, and a GPU has one process"
        raise ConfigError(value.place, problem, "Write gpu:2 in `devices` for two GPUs.")
    items = value_parsers.read_items(value, "processes", PROCESSES_EXAMPLE)
    numbers = dict.fromkeys(
        value_parsers.read_whole(item, "processes", most=settings.MOST_GPUS) for item in items
    )
    return tuple(
        each
        for device in devices
        for each in (
            [replace(device, processes=number) for number in numbers]
            if device.kind == "cpu"
            else [device]
        )
    )


def add_nodes(value: Value | None, devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """Return the devices, each once per number of nodes. value: of `nodes`, if given."""
    if value is None:
        return devices
    items = value_parsers.read_items(value, "nodes", PROCESSES_EXAMPLE)
    numbers = dict.fromkeys(
        value_parsers.read_whole(item, "nodes", most=MOST_NODES) for item in items
    )
    return tuple(replace(device, nodes=number) for device in devices for number in numbers)


def check_groups(found: Fields, sweep: Sweep) -> None:
    """Raise ConfigError if `scaling` has nothing to scale, or a batch becomes too large.

    Also if each node is to be measured by itself, and a task has several.
    """
    _check_nodes(found, sweep)
    value = found.get("scaling")
    if value is None:
        return
    if not any(device.count > 1 for device in sweep.devices):
        problem = "no task has several devices"
        mend = f"Add processes: {PROCESSES_EXAMPLE}, or gpu:2 to `devices`."
        raise ConfigError(value.place, problem, mend)
    most = max(device.count for device in sweep.devices)
    for model, sizes in sweep.batch_sizes if Scaling.WEAK in sweep.scaling else ():
        for size in sizes:
            if not isinstance(size, BatchSizeRule) and size * most > quantities.MOST_WHOLE:
                problem = f"{model} on {most} devices has a batch of {size * most}"
                raise ConfigError(value.place, problem, "Give a smaller batch.")


def _check_nodes(found: Fields, sweep: Sweep) -> None:
    if sweep.where is PlacementRule.EACH_PAIR:
        _check_pairs(found, sweep)
    value, singly = found.get("nodes"), (PlacementRule.EACH_NODE, PlacementRule.EACH_GPU)
    if value is not None and sweep.where in singly and any(d.nodes > 1 for d in sweep.devices):
        problem = f"`where: {sweep.where.value}` measures each node by itself"
        raise ConfigError(value.place, problem, "Use where: any or where: each-type.")


def _check_pairs(found: Fields, sweep: Sweep) -> None:
    numbers = {device.nodes for device in sweep.devices}
    if not numbers <= {1, 2} or 2 not in numbers:
        value = found.get("nodes") or found.get("where")
        place = value.place if value is not None else sweep.source
        problem = "`where: each-pair` measures tasks on two nodes, on every two of a type"
        raise ConfigError(place, problem, "Give nodes: [2], or [1, 2] for each node, too.")


def list_batch_sizes(
    sizes: Sequence[BatchSize], device: Device, scaling: Sequence[Scaling]
) -> tuple[BatchSize, ...]:
    """List the batch sizes of all devices together, each once, for the sizes that a file gives."""
    return tuple(dict.fromkeys(_scale(sizes, device.count, scaling)))


def find_refusal(
    model: str, phases: Sequence[str], batch_size: int, rule: str, device: str, devices: int
) -> str:
    """Describe why a task cannot run on so many devices, whatever its framework; empty: it can.

    device: `cpu` or `gpu`.
    """
    known = MODELS.get(model)
    if fault := find_fault(known, batch_size, devices):
        return fault
    if fault := find_copy_fault(known, device, batch_size, devices):
        return fault
    undivided = find_undivided(batch_size, rule, devices)
    if undivided or devices <= 1:
        return undivided
    return find_single_device_work(MODELS.get(model), phases)


def find_undivided(batch_size: int, rule: str, devices: int) -> str:
    """Describe why a batch cannot be shared among devices; empty: it can.

    rule: as in Task, not empty for a size that the node finds.
    """
    if devices <= 1:
        return ""
    if rule:
        return f"`{rule}` finds a batch size for one device, not for {devices}"
    if batch_size % devices:
        return f"a batch of {batch_size} cannot be shared equally among {devices} devices"
    return ""


def _scale(
    sizes: Sequence[BatchSize], devices: int, scaling: Sequence[Scaling]
) -> Iterator[BatchSize]:
    for size in sizes:
        if isinstance(size, BatchSizeRule) or Scaling.STRONG in scaling:
            yield size
        if not isinstance(size, BatchSizeRule) and Scaling.WEAK in scaling:
            yield size * devices
