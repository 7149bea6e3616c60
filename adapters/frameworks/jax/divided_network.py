"""A network's functions on each device of a mesh, with the mean of all devices as the result."""

import jax
from jax import lax

from velodrome.adapters.frameworks.jax.placement import AXIS


class DividedNetwork(object):
    """Functions as those of Network, to be compiled by placement.Devices.

    They read one device's examples: batch normalization uses those alone, and each device has a
    random key of its own.
    """

    def __init__(self, network, devices, rank):
        """devices: of this process. rank: of this process among those of all nodes."""
        self._network, self._devices, self._rank = network, devices, rank
        self.inference = network.inference

    def carried(self, batch_size):
        """Return the buffers of this process's devices, to be divided among them."""
        found = self._network.carried(batch_size)
        if "key" in found:
            own = jax.random.fold_in(found["key"], self._rank) if self._rank else found["key"]
            found["key"] = jax.random.split(own, self._devices)
        return found

    def forward(self, trained, frozen, rates, batch, carried):
        """Return the mean loss of all devices, or this one's output, and the carried values."""
        result, carried = self._network.forward(trained, frozen, rates, batch, _take_own(carried))
        if result is not None and result.ndim == 0:
            result = lax.pmean(result, AXIS)
        return result, _to_divided(carried)

    def gradient(self, trained, frozen, rates, batch, carried):
        """Return ((mean loss, mean gradients) of all devices, the carried values)."""
        own = _take_own(carried)
        found, carried = self._network.gradient(trained, frozen, rates, batch, own)
        return lax.pmean(found, AXIS), _to_divided(carried)

    def kept_shares(self, trained, frozen, rates, batch, carried):
        """Map each dropout layer to the share that one device keeps, as Network.kept_shares."""
        return self._network.kept_shares(trained, frozen, rates, batch, _take_own(carried))


def _take_own(carried):
    """Return a device's part of the carried values as the network takes them."""
    return dict(carried, key=carried["key"][0]) if "key" in carried else carried


def _to_divided(carried):
    return dict(carried, key=carried["key"][None]) if "key" in carried else carried
