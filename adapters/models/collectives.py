"""Collective operations as models: their names, sizes, and bandwidths.

Sizes and bandwidths are those of nccl-tests (doc/PERFORMANCE.md of github.com/NVIDIA/nccl-tests):
the size is what each device has in all_reduce, all-to-all and broadcast, and that of the whole
array in all-gather, of which each device gives a share, and in reduce-scatter, of which each
device keeps one. Each device has one row of the batch, so that all have other values.
"""

from typing import NamedTuple, Optional

from velodrome.adapters.models.copies import find_transfer, find_wrong_rows, name_kind
from velodrome.adapters.models.layers import Collective, Model, NoLoss, Vectors
from velodrome.adapters.models.sizes import SIZES, VALUE_BYTES, split_size

BEYOND_CACHES = 2**28  # as the model copy: no device has a cache of 256 MiB
SHARE_VALUES = 4  # shares are whole 16 bytes, as in nccl-tests; a rest is left out
ABOUT = {
    "allreduce": "the sum of all devices' %s, on each of them",
    "allgather": "%s from equal parts of all devices, on each of them",
    "reducescatter": "the sum of all devices' %s, an equal part on each of them",
    "alltoall": "%s of each device, an equal part to each of them",
    "broadcast": "%s of one device, to all of them",
}
WITH_SHARES = ("allgather", "reducescatter", "alltoall")


def make_collective(operation: str, size_bytes: int) -> Model:
    """Make the model of an operation, named like `allreduce-64kib`."""
    number, unit = split_size(size_bytes)
    return Model(
        name="{}-{}{}".format(operation, number, unit.lower()),
        about=ABOUT[operation] % "{} {}".format(number, unit),
        input=Vectors(size_bytes // VALUE_BYTES, "integers"),
        layers=(Collective("exchange", operation),),
        loss=NoLoss(),
        classes=0,
        batch_size=1,  # of each device
        gpu_batch_size=1,
    )


class Exchange(NamedTuple):
    """The work of one call of a collective. bus_bytes: size_bytes times nccl-tests' factor.

    Of a copy between memories both are its size, for each device.
    """

    operation: str  # of ABOUT, or the kind of a copy
    size_bytes: int
    bus_bytes: float


def find_exchange(model: Optional[Model], devices: int) -> Optional[Exchange]:
    """Return the work of a call on so many devices; None if no collective and no copy."""
    transfer = find_transfer(model)
    if model is not None and transfer is not None:
        size_bytes = VALUE_BYTES * model.input.size  # type: ignore[union-attr]
        return Exchange(name_kind(transfer), size_bytes, float(size_bytes))
    operation = find_operation(model)
    if model is None or not operation or devices < 2:
        return None
    values = count_used_values(operation, model.input.size, devices)  # type: ignore[union-attr]
    size_bytes = VALUE_BYTES * values
    return Exchange(operation, size_bytes, size_bytes * compute_bus_factor(operation, devices))


def count_written_bytes(model: Model, devices: int) -> int:
    """Count the bytes that devices' memories together take or give in one call, at least.

    0 if it is neither a collective nor a copy between memories, or a copy within caches.
    """
    exchange = find_exchange(model, devices)
    transfer = find_transfer(model)
    if exchange is not None and transfer is not None:
        if transfer.direction != "d2d":
            return devices * exchange.size_bytes
        is_cached = exchange.size_bytes < BEYOND_CACHES
        return 0 if is_cached else 2 * devices * exchange.size_bytes
    if exchange is None or exchange.operation == "reducescatter":
        return exchange.size_bytes if exchange else 0
    receivers = devices - 1 if exchange.operation == "broadcast" else devices
    return receivers * exchange.size_bytes


def find_operation(model: Optional[Model]) -> str:
    """Return the operation of a collective; empty for every other model."""
    layer = model.layers[0] if model is not None and model.layers else None
    return layer.operation if isinstance(layer, Collective) else ""


def count_used_values(operation: str, values: int, devices: int) -> int:
    """Count the values of the size that an operation uses: all, or as many as give equal shares."""
    if operation not in WITH_SHARES:
        return values
    return devices * count_share(values, devices)


def count_share(values: int, devices: int) -> int:
    """Count the values of one device's share."""
    return values // devices // SHARE_VALUES * SHARE_VALUES


def compute_bus_factor(operation: str, devices: int) -> float:
    """Return bus bandwidth over algorithm bandwidth, from the summary of nccl-tests."""
    if operation == "broadcast":
        return 1.0
    factor = (devices - 1.0) / devices
    return 2.0 * factor if operation == "allreduce" else factor


def find_fault(model: Optional[Model], batch_size: int, devices: int) -> str:
    """Describe why a collective cannot run on so many devices; empty: it can, or is none."""
    if model is None or not find_operation(model):
        return ""
    if devices < 2:
        text = "{} is an operation of several devices. Give cpu:2 or gpu:2, or `processes: [2]`"
        return text.format(model.name)
    return find_wrong_rows(model, batch_size, devices)


COLLECTIVES = tuple(make_collective(operation, size) for operation in ABOUT for size in SIZES)
