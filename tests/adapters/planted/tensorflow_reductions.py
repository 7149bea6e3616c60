"""TensorFlow on several devices, each adapter with one fault in the all-reduce or the division."""

import tensorflow as tf
from stale_half import StaleHalf

from velodrome.adapters.frameworks.tensorflow import adapter, divided_network
from velodrome.adapters.frameworks.tensorflow.placement import find_replica

MEAN, SUM = tf.distribute.ReduceOp.MEAN, tf.distribute.ReduceOp.SUM


def _all_reduce(operation, tensors):
    return tf.distribute.get_replica_context().all_reduce(operation, tensors)


class Faulty(divided_network.DividedNetwork):
    """A network with another way to reduce [loss, gradients]."""

    reduce = None

    def gradient(self, part):
        loss, *gradients = self._gradient(part)
        return [*_all_reduce(MEAN, [loss]), *self.reduce(gradients)]


class OneLeftOut(Faulty):
    def reduce(self, gradients):
        share = 1.0 if find_replica() == 0 else 0.0
        return _all_reduce(SUM, [share * own for own in gradients])


class NotDivided(Faulty):
    def reduce(self, gradients):
        return _all_reduce(SUM, gradients)


class InBfloat16(Faulty):
    def reduce(self, gradients):
        lower = _all_reduce(MEAN, [tf.cast(own, tf.bfloat16) for own in gradients])
        return [tf.cast(own, tf.float32) for own in lower]


class NotReduced(Faulty):
    def reduce(self, gradients):
        return gradients


def _with(network):
    class Adapter(adapter.Adapter):
        def build(self, weights):
            super().build(weights)
            self._functions = network(self._network, compiles=False)

    return Adapter


LeftOut, Summed, Lower, Apart = map(_with, (OneLeftOut, NotDivided, InBfloat16, NotReduced))


class Stale(StaleHalf, adapter.Adapter):
    """The last device keeps its examples of the first batch."""
