"""Copies between memories as models: host to device, device to host, device to device.

Each device has one row of the batch, as in collective operations, and all copy at once, each its
own row: to its memory from the host's, back, or, of several devices, to the memory of the next. One
device alone copies within its memory. The size is that of one row, counted once, as in nvbandwidth.
"""

from typing import Optional

from velodrome.adapters.models.layers import Model, NoLoss, Transfer, Vectors
from velodrome.adapters.models.sizes import SIZES, VALUE_BYTES, split_size

# By the name of a model without its size: the direction, and if the host's memory is page-locked.
KINDS = {
    "h2d-pinned": ("h2d", True),
    "h2d-pageable": ("h2d", False),
    "d2h-pinned": ("d2h", True),
    "d2h-pageable": ("d2h", False),
    "d2d": ("d2d", False),
}
ABOUT = {
    "h2d-pinned": "from page-locked memory of the host to each device",
    "h2d-pageable": "from pageable memory of the host to each device",
    "d2h-pinned": "from each device to page-locked memory of the host",
    "d2h-pageable": "from each device to pageable memory of the host",
    "d2d": "from each device to the next, or within one",
}


def make_copy(kind: str, size_bytes: int) -> Model:
    """Make the model of a copy, named like `h2d-pinned-64kib`."""
    number, unit = split_size(size_bytes)
    direction, is_pinned = KINDS[kind]
    return Model(
        name="{}-{}{}".format(kind, number, unit.lower()),
        about="a copy of {} {} {}".format(number, unit, ABOUT[kind]),
        input=Vectors(size_bytes // VALUE_BYTES, "uniform"),
        layers=(Transfer("copy", direction, is_pinned),),
        loss=NoLoss(),
        classes=0,
        batch_size=1,  # of each device
        gpu_batch_size=1,
    )


def find_transfer(model: Optional[Model]) -> Optional[Transfer]:
    """Return the layer of a copy between memories; None for every other model."""
    layer = model.layers[0] if model is not None and model.layers else None
    return layer if isinstance(layer, Transfer) else None


def name_kind(transfer: Transfer) -> str:
    """Return the kind of a copy, as in KINDS."""
    return next(
        kind for kind, own in KINDS.items() if own == (transfer.direction, transfer.is_pinned)
    )


def find_copy_fault(model: Optional[Model], device: str, batch_size: int, devices: int) -> str:
    """Describe why a copy cannot run on so many devices; empty: it can, or is none.

    device: `cpu` or `gpu`.
    """
    if model is None or find_transfer(model) is None:
        return ""
    if device == "cpu":
        text = (
            "{} copies between memories of a host and of devices, and a CPU has the host's alone. "
            "Give gpu; the model copy measures the memory of a CPU"
        )
        return text.format(model.name)
    return find_wrong_rows(model, batch_size, devices)


def find_wrong_rows(model: Model, batch_size: int, devices: int) -> str:
    """Describe a batch that has not one row for each device; empty: it has."""
    if batch_size == devices:
        return ""
    text = "{} has one row of the batch for each device: a batch of {} on {} devices, not of {}"
    return text.format(model.name, devices, devices, batch_size)


COPIES = tuple(make_copy(kind, size) for kind in KINDS for size in SIZES)
