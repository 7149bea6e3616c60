"""Copies between memories in JAX: jax.device_put to a sharding of another memory or device.

Memory of the host is page-locked as `pinned_host`, one of JAX's memory kinds; NumPy's arrays are in
pageable memory. To pageable memory JAX copies as `unpinned_host`, which few of its devices have:
reading an array on the host would copy it once and then return what it kept.
"""

import jax
import jax.numpy as jnp
import numpy

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.jax.placement import DevicesOfNodes
from velodrome.adapters.models.copies import name_kind

PINNED, PAGEABLE = "pinned_host", "unpinned_host"


def require_plain(variant, dtype):
    """Raise Unsupported unless a copy is of the variant jit and in float32."""
    if variant != "jit":
        raise Unsupported("jax.device_put is the same call in every variant: use jit")
    if dtype != "float32":
        raise Unsupported("copies between memories are in float32, not in {}".format(dtype))


def keep(layer, weights, call, x):
    """Return what a network's layer reads: JaxCopier copies it."""
    return x


class JaxCopier(object):
    """The copy of every device's row, (devices, values), as a function of what `place` returns."""

    def __init__(self, transfer, placement):
        """transfer: a velodrome.adapters.models.layers.Transfer.

        Unsupported without the memory that it names, or on several nodes.
        """
        if isinstance(placement, DevicesOfNodes):
            raise Unsupported("a copy between memories stays on one node")
        self._transfer, self._placement = transfer, placement
        self._devices = placement.devices
        known = {memory.kind for memory in self._devices[0].addressable_memories()}
        self._kind = PINNED if transfer.is_pinned else PAGEABLE
        if self._kind not in known and (transfer.is_pinned or transfer.direction == "d2h"):
            text = "JAX {} has no memory {} beside this device, only {}"
            raise Unsupported(
                text.format(jax.__version__, self._kind, ", ".join(sorted(known)) or "its own")
            )
        self._own = self._devices[0].default_memory().kind
        self.call = self._choose()

    def place(self, inputs):
        """Copy an array of the host to the memory that is copied from."""
        if self._transfer.direction == "h2d":
            return self._put(inputs, self._kind) if self._transfer.is_pinned else inputs
        placed = self._put(inputs, self._own)
        if self._transfer.direction == "d2d" and len(self._devices) > 1:
            return self._placement.list_parts(placed)
        return placed

    def read(self, handle):
        """Return the host's copy of a call's result, the rows in the order of the batch.

        Of an array that is new each time: JAX keeps what the host has read of one, and a second
        reading, with which the proof compares the first, would take no time.
        """
        if isinstance(handle, list):
            return numpy.concatenate([numpy.asarray(jnp.copy(row)) for row in handle])
        if self._transfer.direction == "d2h":
            return self._placement.read_own(self._put(handle, self._own))
        return self._placement.read_own(jnp.copy(handle))

    def describe(self):
        """Yield notes of how it runs."""
        yield "{} of jax {}; each call waits for its result".format(
            name_kind(self._transfer), jax.__version__
        )
        if self._transfer.direction == "d2d":
            yield (
                "from each device to the next"
                if len(self._devices) > 1
                else ("within the memory of one device, by jax.numpy.copy")
            )

    def _choose(self):
        """Return the function that copies, and waits: JAX has no call that waits for a device."""
        if self._transfer.direction == "d2d":
            if len(self._devices) > 1:
                return self._copy_to_next
            copy = jax.jit(jnp.copy)
            return lambda source: jax.block_until_ready(copy(source))
        target = self._own if self._transfer.direction == "h2d" else self._kind
        sharding = self._placement.find_memory(target)
        return lambda source: jax.block_until_ready(jax.device_put(source, sharding))

    def _copy_to_next(self, rows):
        """Copy the row of each device to the next one. rows: a list of arrays (1, values)."""
        targets = self._devices[1:] + self._devices[:1]
        return jax.block_until_ready([jax.device_put(*pair) for pair in zip(rows, targets)])

    def _put(self, inputs, kind):
        found = jax.device_put(inputs, self._placement.find_memory(kind))
        return jax.block_until_ready(found)
