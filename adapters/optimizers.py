"""The optimizers of the phases update and step: fixed hyperparameters and formulas.

The adapters give these values to their framework's own optimizers; a worker computes with `advance`
in float64 what an update must give. The rates are small, so that the thousands of steps of a timing
leave the values of a network in their usual range.
"""

from typing import Dict, NamedTuple, Tuple

import numpy

Moments = Tuple[numpy.ndarray, ...]  # an optimizer's state for one parameter, float64


class Sgd(NamedTuple):
    """Stochastic gradient descent with momentum, which has no damping and is not Nesterov's.

    velocity = momentum velocity + g; p = p - learning_rate velocity.
    """

    learning_rate: float = 1e-3
    momentum: float = 0.9


class AdamW(NamedTuple):
    """Adam with decoupled weight decay (Loshchilov & Hutter, ICLR 2019) on every parameter.

    p = p - learning_rate weight_decay p, then p = p - learning_rate m / (sqrt(v) + epsilon), with m
    and v the means of g and g squared, both corrected for their start at 0.
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.1


SGD, ADAMW = Sgd(), AdamW()
NAMES = ("sgd", "adamw")


def begin(name: str, values: numpy.ndarray) -> Moments:
    """Return the state before the first update. KeyError for an unknown optimizer."""
    return tuple(numpy.zeros(values.shape) for _ in range({"sgd": 1, "adamw": 2}[name]))


def advance(
    name: str,
    values: numpy.ndarray,
    gradient: numpy.ndarray,
    moments: Moments,
    number: int,
    early_epsilon: bool = False,  # noqa: FBT001, FBT002 - an adapter's, passed on by position
) -> Tuple[numpy.ndarray, Moments]:
    """Return the values and the state after update `number`, the first being 1; all float64.

    early_epsilon: AdamW adds epsilon to the root of v before it corrects it for its start.
    """
    if name == "sgd":
        velocity = SGD.momentum * moments[0] + gradient
        return values - SGD.learning_rate * velocity, (velocity,)
    mean = ADAMW.beta1 * moments[0] + (1 - ADAMW.beta1) * gradient
    square = ADAMW.beta2 * moments[1] + (1 - ADAMW.beta2) * gradient**2
    root_correction = (1 - ADAMW.beta2**number) ** 0.5
    if early_epsilon:
        divisor = (numpy.sqrt(square) + ADAMW.epsilon) / root_correction
    else:
        divisor = numpy.sqrt(square) / root_correction + ADAMW.epsilon
    change = mean / (1 - ADAMW.beta1**number) / divisor + ADAMW.weight_decay * values
    return values - ADAMW.learning_rate * change, (mean, square)


def advance_first(name: str, values: numpy.ndarray, gradient: numpy.ndarray) -> numpy.ndarray:
    """Return the values after the first update, float64."""
    return advance(name, values, gradient, begin(name, values), 1)[0]


def describe(name: str) -> str:
    """Return the optimizer with its hyperparameters, for a row's notes."""
    own: Dict[str, Tuple[str, NamedTuple]] = {"sgd": ("SGD", SGD), "adamw": ("AdamW", ADAMW)}
    title, values = own[name]
    pairs = [
        "{} {:g}".format(field.replace("_", " "), value)
        for field, value in zip(values._fields, values)
    ]
    return "{}: {}".format(title, ", ".join(pairs))
