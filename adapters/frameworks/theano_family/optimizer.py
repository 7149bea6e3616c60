"""Optimizers composed of a framework's operations, as new values of shared variables.

The family has no optimizers: its users give theano.function `updates`, which it computes in the
same graph as the gradients and writes where the old values are.
"""

import numpy

from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.optimizers import ADAMW, SGD, AdamW, Sgd

KINDS = {"sgd": (Sgd, 1), "adamw": (AdamW, 2)}  # and the number of moments of each parameter


class SharedOptimizer(object):
    """An optimizer's state for all parameters: shared variables of their shapes, and a count."""

    def __init__(self, name, library, parameters):
        """name: of velodrome.adapters.optimizers.NAMES. parameters: shared variables."""
        self.name = name
        self._library, self._parameters = library, parameters
        self._moments = [
            [self.make_zeros(parameter) for _ in range(KINDS[name][1])] for parameter in parameters
        ]
        self._count = library.root.shared(numpy.float64(0))

    def make_zeros(self, variable):
        """Return a shared variable of zeros, shaped as this one."""
        return self._library.root.shared(numpy.zeros_like(variable.get_value(borrow=True)))

    def reset(self):
        """Set the state to zeros, in memory that has been written before."""
        for moments in self._moments:
            for moment in moments:
                moment.get_value(borrow=True).fill(0)
        self._count.set_value(numpy.float64(0))

    def list_updates(self, gradients):
        """List (shared variable, its new value), by symbols of the parameters' gradients."""
        rows = zip(self._parameters, self._moments, gradients)
        return self._advance_adamw(rows) if self.name == "adamw" else self._advance_sgd(rows)

    def describe(self):
        """Return a note of how the optimizer is composed."""
        kind, _ = KINDS[self.name]
        return format_note(kind, "of elementwise operations, as updates of shared variables")

    def _advance_sgd(self, rows):
        pairs = []
        for parameter, (velocity,), gradient in rows:
            moved = SGD.momentum * velocity + gradient
            pairs += [(velocity, moved), (parameter, parameter - SGD.learning_rate * moved)]
        return pairs

    def _advance_adamw(self, rows):
        tensor, number = self._library.tensor, self._count + 1
        pairs = [(self._count, number)]
        first, second = self._correct(ADAMW.beta1, number), self._correct(ADAMW.beta2, number)
        root = tensor.sqrt(second)
        for parameter, (mean, square), gradient in rows:
            mean_after = ADAMW.beta1 * mean + (1 - ADAMW.beta1) * gradient
            square_after = ADAMW.beta2 * square + (1 - ADAMW.beta2) * tensor.sqr(gradient)
            change = mean_after / first / (tensor.sqrt(square_after) / root + ADAMW.epsilon)
            change = change + ADAMW.weight_decay * parameter
            pairs += [
                (mean, mean_after),
                (square, square_after),
                (parameter, parameter - ADAMW.learning_rate * change),
            ]
        return pairs

    def _correct(self, beta, number):
        """Return 1 - beta^number, computed in float64: in float32 it would be off by 1e-5."""
        # An array, since a number would become float32.
        base = self._library.tensor.constant(numpy.asarray(beta, "float64"))
        return self._library.tensor.cast(1 - base**number, "float32")
