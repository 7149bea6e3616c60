"""Optimizers composed of jax.numpy, for JAX has none of its own, and pure functions that use them.

Parameters and gradients are dicts of arrays by `layer.role`. A state is (updates so far, moments by
`layer.role`), as of Optax's optimizers.
"""

import jax.numpy as jnp

from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.optimizers import ADAMW, SGD


def _make_sgd(number):
    def advance(values, gradient, velocity):
        velocity = SGD.momentum * velocity + gradient
        return values - SGD.learning_rate * velocity, velocity

    return advance


def _make_adamw(number):
    mean_share = 1 - jnp.float32(ADAMW.beta1) ** number
    square_share = 1 - jnp.float32(ADAMW.beta2) ** number

    def advance(values, gradient, mean, square):
        mean = ADAMW.beta1 * mean + (1 - ADAMW.beta1) * gradient
        square = ADAMW.beta2 * square + (1 - ADAMW.beta2) * jnp.square(gradient)
        divisor = jnp.sqrt(square / square_share) + ADAMW.epsilon
        change = mean / mean_share / divisor + ADAMW.weight_decay * values
        return values - ADAMW.learning_rate * change, mean, square

    return advance


# By name: how many moments a parameter has, and a function of the update's number, the first being
# 1, that gives the rule: from values, gradient and moments to new values and moments.
RULES = {"sgd": (1, _make_sgd), "adamw": (2, _make_adamw)}


class Trainer(object):
    """Functions of a network and an optimizer, to be compiled or not."""

    def __init__(self, network, name):
        """name: of velodrome.adapters.optimizers.NAMES."""
        self.name = name
        self._network = network
        self._moments, self._make_rule = RULES[name]

    def begin(self, trained):
        """Return the state before the first update."""
        moments = {
            key: tuple(jnp.zeros_like(values) for _ in range(self._moments))
            for key, values in trained.items()
        }
        return jnp.int32(0), moments

    def update(self, trained, state, gradients):
        """Return the parameters and the state after one step by these gradients."""
        number = state[0] + 1
        rule, found, moments = self._make_rule(number), {}, {}
        for key, values in trained.items():
            found[key], *moments[key] = rule(values, gradients[key], *state[1][key])
        return found, (number, {key: tuple(own) for key, own in moments.items()})

    def step(self, trained, state, frozen, rates, batch, carried):
        """Return (the loss before the step, parameters, state, the network's carried values)."""
        (loss, gradients), carried = self._network.gradient(trained, frozen, rates, batch, carried)
        return (loss, *self.update(trained, state, gradients), carried)

    def note(self):
        """Return the note on the optimizer."""
        kind = type({"sgd": SGD, "adamw": ADAMW}[self.name])
        return format_note(kind, "of jax.numpy: JAX leaves optimizers to other packages")
