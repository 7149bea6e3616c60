"""JAX on several devices, each adapter with one fault in the all-reduce or the division."""

import jax
import jax.numpy as jnp
from jax import lax
from stale_half import StaleHalf

from velodrome.adapters.frameworks.jax import adapter, divided_network, placement

AXIS = placement.AXIS


class Faulty(divided_network.DividedNetwork):
    """A network with another way to reduce (loss, gradients)."""

    reduce = None

    def gradient(self, trained, frozen, rates, batch, carried):
        found, carried = self._network.gradient(trained, frozen, rates, batch, carried)
        return self.reduce(found), carried


class OneLeftOut(Faulty):
    def reduce(self, found):
        counts = lax.axis_index(AXIS) == 0
        return lax.psum(jax.tree.map(lambda own: jnp.where(counts, own, 0), found), AXIS)


class NotDivided(Faulty):
    def reduce(self, found):
        return lax.pmean(found[0], AXIS), lax.psum(found[1], AXIS)


class InBfloat16(Faulty):
    def reduce(self, found):
        lower = jax.tree.map(lambda own: own.astype(jnp.bfloat16), found[1])
        back = jax.tree.map(lambda own: own.astype(jnp.float32), lax.pmean(lower, AXIS))
        return lax.pmean(found[0], AXIS), back


class NotReduced(Faulty):
    def reduce(self, found):
        return lax.pmean(found[0], AXIS), found[1]


def _with(network):
    class Adapter(adapter.Adapter):
        def join(self, group):
            super().join(group)
            self._functions = network(self._network, group.devices, group.rank)

    return Adapter


LeftOut, Summed, Lower, Apart = map(_with, (OneLeftOut, NotDivided, InBfloat16, NotReduced))


class Stale(StaleHalf, adapter.Adapter):
    """The last device keeps its examples of the first batch."""
