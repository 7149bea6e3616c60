"""Training of a network by Keras' optimizers, which are TensorFlow's own."""

import contextlib

import keras
import tensorflow as tf

from velodrome.adapters.optimizers import ADAMW, SGD


def _make_sgd(devices):
    kind = _without_reduction(keras.optimizers.SGD) if devices > 1 else keras.optimizers.SGD
    return kind(learning_rate=SGD.learning_rate, momentum=SGD.momentum)


def _make_adamw(devices):
    kind = _without_reduction(keras.optimizers.AdamW) if devices > 1 else keras.optimizers.AdamW
    return kind(
        learning_rate=ADAMW.learning_rate,
        beta_1=ADAMW.beta1,
        beta_2=ADAMW.beta2,
        epsilon=ADAMW.epsilon,
        weight_decay=ADAMW.weight_decay,
    )


def _without_reduction(kind):
    """Return the optimizer without its all-reduce: it is given the mean of all devices.

    Keras' own would add them up once more. Keras 3 has no public option for it, Keras 2 had
    skip_gradients_aggregation.
    """
    return type(
        kind.__name__,
        (kind,),
        {"_all_reduce_sum_gradients": lambda optimizer, pairs: list(pairs)},
    )


OPTIMIZERS = {"sgd": _make_sgd, "adamw": _make_adamw}


class Trainer(object):
    """A network with the optimizer of its trained variables, on the current device.

    Its state is in variables, so that update and step may each be a tf.function.
    """

    def __init__(self, network, name, devices=1):
        """Make the optimizer's variables. name: of velodrome.adapters.optimizers.NAMES."""
        self.name = name
        self._network = network
        self._optimizer = OPTIMIZERS[name](devices)
        self._optimizer.build(network.trained)

    def restart(self, weights):
        """Give all trained variables their weights, canonical layout, and empty the state."""
        self._network.assign_all(weights)
        for variable in self._list_state():
            variable.assign(tf.zeros_like(variable))

    def update(self, gradients):
        """Take one step by these gradients, in the order of the trained variables."""
        self._optimizer.apply(gradients)
        return []

    def step(self, batch):
        """Return [the loss before the step]."""
        loss, *gradients = self._network.gradient(batch)
        self._optimizer.apply(gradients)
        return [loss]

    @contextlib.contextmanager
    def rehearsal(self):
        """Undo, at the end of the context, every step that was taken in it."""
        variables = self._network.trained + self._list_state()
        kept = [tf.identity(variable) for variable in variables]
        yield
        for variable, values in zip(variables, kept):
            variable.assign(values)

    def note(self):
        """Return the note on the optimizer."""
        own = "the optimizer is keras.optimizers.{} {}".format(
            type(self._optimizer).__name__, keras.__version__
        )
        return own + (", epsilon before the correction" if self.name == "adamw" else "")

    def _list_state(self):
        """List the optimizer's variables but for the learning rate: the count and the moments."""
        return [
            variable.value
            for variable in self._optimizer.variables
            if variable is not self._optimizer.learning_rate
        ]
