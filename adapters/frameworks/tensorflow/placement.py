"""Placement of variables, batches and calls: on one device, or mirrored on several of a process.

On several devices a batch is a dict of all their tensors, `inputs_0` to `inputs_n`, so that a
tf.function has one signature for all batches.
"""

from functools import lru_cache

import tensorflow as tf

from velodrome.adapters.frameworks.division import require_equal


class OneDevice(object):
    """Places everything on one device."""

    count = total = 1

    def __init__(self, name):
        self._name = name

    def scope(self):
        """Return the context in which variables are made."""
        return tf.device(self._name)

    def make_variables(self, values):
        """Return a variable for each device, that no other one mirrors."""
        with self.scope():
            return [tf.Variable(values)]

    def place(self, parts):
        """Return the batch of the only part, a dict of arrays."""
        (part,) = parts
        with self.scope():
            return {name: tf.constant(array) for name, array in part.items()}

    def list_parts(self, batch):
        """List each device's tensors."""
        return [batch]

    def run_on_batch(self, call):
        """Return the call on each device's part of a batch."""
        return call

    def run(self, call):
        """Return the call on each device's copy of its argument."""
        return call

    def list_copies(self, value):
        """List what each device has of a result or a variable."""
        return [value]

    def read(self, name, value):
        """Return on the host what all devices have."""
        return value.numpy()

    def notes(self, variant):
        return ()


class MirroredDevices(object):
    """Mirrors variables by a strategy, and divides batches.

    count: this process's devices. total: those of all processes. first: the number of this
    process's first among them.
    """

    first = 0

    def __init__(self, names, strategy):
        """names: of this process's devices."""
        self._names, self.count = names, len(names)
        self.total = self.count
        self._strategy = strategy

    def scope(self):
        return self._strategy.scope()

    def make_variables(self, values):
        found = []
        for name in self._names:
            with tf.device(name):
                found.append(tf.Variable(values))
        return found

    def place(self, parts):
        found = {}
        for number, (device, part) in enumerate(zip(self._names, parts)):
            with tf.device(device):
                for name, array in part.items():
                    found["{}_{}".format(name, number)] = tf.constant(array)
        return found

    def list_parts(self, batch):
        parts = [{} for _ in self._names]
        for key, tensor in batch.items():
            name, _, number = key.rpartition("_")
            parts[int(number)][name] = tensor
        return parts

    def run_on_batch(self, call):
        def run_part(parts):
            return call(parts[find_replica() - self.first])

        def run(batch):
            return self._strategy.run(run_part, (self.list_parts(batch),))

        return run

    def run(self, call):
        return lambda value: self._strategy.run(call, (value,))

    def list_copies(self, value):
        return self._strategy.experimental_local_results(value)

    def read(self, name, value):
        """Return what all devices have. Disagreed if one of them has another."""
        return require_equal(name, [copy.numpy() for copy in self.list_copies(value)])

    def notes(self, variant):
        yield self._describe()
        yield "one all-reduce of the loss and all gradients, in float32, none in Keras' optimizer"
        if variant == "xla":
            yield "XLA compiles each device's part; all-reduce and optimizer are a graph behind it"

    def _describe(self):
        text = "data parallel on {} devices of one process, by tf.distribute.MirroredStrategy"
        return text.format(self.count)


def mirror(names):
    """Return the placement on these devices of one process."""
    return MirroredDevices(names, _make_strategy(tuple(names)))


@lru_cache(maxsize=None)
def _make_strategy(names):
    """Return a process's only strategy for these devices.

    Each strategy numbers its all-reduces from the same number on, and TensorFlow takes those of two
    strategies with one number for the same.
    """
    return tf.distribute.MirroredStrategy(names)


def find_replica():
    """Return the number, among all devices, of the one whose part is being traced."""
    number = tf.distribute.get_replica_context().replica_id_in_sync_group
    return int(tf.get_static_value(number))
