"""A network's calls on each mirrored device, with the mean of all devices as the result."""

import tensorflow as tf


class DividedNetwork(object):
    """Calls as those of Network, on one device's part of a batch, run by MirroredStrategy.

    compiles: XLA compiles each device's part; the all-reduce stands behind it.
    """

    def __init__(self, network, *, compiles):
        self._network, self.trained = network, network.trained
        self.assign_all = network.assign_all
        self._forward, self._gradient, self.inference = (
            tf.function(call, autograph=False, jit_compile=True) if compiles else call
            for call in (network.forward, network.gradient, network.inference)
        )

    def forward(self, part):
        """Return [the mean loss of all devices], or this one's output; [] if it stays here."""
        found = self._forward(part)
        return _reduce(found) if found and found[0].shape.rank == 0 else found

    def gradient(self, part):
        """Return [the mean loss, the mean of each gradient]."""
        return _reduce(self._gradient(part))


def _reduce(tensors):
    """Return the means over all devices, by one all-reduce."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, tensors)
