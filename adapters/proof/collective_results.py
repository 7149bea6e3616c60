"""Expected results of collective operations, and of copies, from a whole batch."""

import numpy

from velodrome.adapters.models.collectives import count_share, find_operation
from velodrome.adapters.models.layers import Model


def compute_expected_output(model: Model, rows: numpy.ndarray) -> numpy.ndarray:
    """Return what a model without a loss gives of a batch: of a copy the batch itself.

    rows: (devices, values) for a collective, a row from each device. Returns a row for each device.
    The rows are whole numbers below 2^17, whose sums over 64 devices float32 holds exactly, in any
    order of addition; a sum in bfloat16 or float16 differs.
    """
    operation = find_operation(model)
    return compute_results(operation, rows) if operation else rows


def compute_results(operation: str, rows: numpy.ndarray) -> numpy.ndarray:
    """Return each device's result of an operation, as rows. Broadcast is from device 0."""
    devices = len(rows)
    if operation == "allreduce":
        return _repeat(_add(rows), devices)
    if operation == "broadcast":
        return _repeat(rows[0], devices)
    share = count_share(rows.shape[1], devices)
    if operation == "allgather":
        return _repeat(rows[:, :share].reshape(-1), devices)
    parts = rows[:, : devices * share].reshape(devices, devices, share)  # from, to
    if operation == "reducescatter":
        return _add(parts)
    return numpy.swapaxes(parts, 0, 1).reshape(devices, devices * share)


def name_source(model: Model) -> str:
    """Name what the values of a right output are, for an error."""
    operation = find_operation(model)
    return "what {} gives".format(operation) if operation else "the input's"


def _add(arrays: numpy.ndarray) -> numpy.ndarray:
    total: numpy.ndarray = arrays.sum(axis=0, dtype=numpy.float64)
    return total.astype(numpy.float32)


def _repeat(row: numpy.ndarray, devices: int) -> numpy.ndarray:
    return numpy.broadcast_to(row, (devices,) + row.shape)
