"""Collective operations in JAX: those of jax.lax, on each device's row under jax.shard_map."""

import jax
from jax import lax

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.jax.placement import AXIS
from velodrome.adapters.models.collectives import count_share, find_operation

WAITS = "a collective operation waits for the other devices"


def require_operation(model, dtype):
    """Raise Unsupported if a collective has no operation, or is not in float32."""
    if find_operation(model) not in CALLS:
        raise Unsupported("jax.lax has no broadcast between the devices of a CPU")
    if dtype != "float32":
        raise Unsupported("collective operations are in float32, not in {}".format(dtype))


def exchange(layer, weights, call, x):
    """Return this device's result (1, values) of its row (1, values)."""
    devices = lax.axis_size(AXIS) if hasattr(lax, "axis_size") else lax.psum(1, AXIS)
    return CALLS[layer.operation](x, count_share(x.shape[1], devices), devices)


def _alltoall(x, share, devices):
    parts = x[0, : devices * share].reshape(devices, share)
    return lax.all_to_all(parts, AXIS, 0, 0, tiled=True).reshape(1, devices * share)


CALLS = {
    "allreduce": lambda x, share, devices: lax.psum(x, AXIS),
    "allgather": lambda x, share, devices: lax.all_gather(x[0, :share], AXIS, tiled=True)[None],
    "reducescatter": lambda x, share, devices: lax.psum_scatter(
        x[0, : devices * share], AXIS, tiled=True
    )[None],
    "alltoall": _alltoall,
}


def describe(operation, devices):
    """Return a note of how the operation runs."""
    text = "{} of jax.lax {} on {} devices of each process"
    return text.format(operation, jax.__version__, devices)
