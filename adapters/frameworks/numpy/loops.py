"""A loop: the same layer several times, with the same parameters."""

from typing import FrozenSet, List, Tuple

import numpy

from velodrome.adapters.frameworks.numpy.operation import (
    Array,
    CallContext,
    Gradients,
    Operation,
    Weights,
)
from velodrome.adapters.models import layers as kinds


def _forward(
    layer: kinds.Loop, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, List[Array]]:
    states = [inputs[0]]
    for _ in range(layer.steps):
        states.append(numpy.tanh(states[-1] @ weights["weight"].T + weights["bias"]))
    return states[-1], states


def _backward(
    layer: kinds.Loop,
    weights: Weights,
    states: List[Array],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    of_weight, of_bias = numpy.zeros_like(weights["weight"]), numpy.zeros_like(weights["bias"])
    for before, after in zip(states[-2::-1], states[:0:-1]):
        of_sum = gradient * (1.0 - after * after)
        of_weight += of_sum.T @ before
        of_bias += of_sum.sum(axis=0)
        gradient = of_sum @ weights["weight"]
    return (gradient,), {"weight": of_weight, "bias": of_bias}


LOOP = Operation(_forward, _backward)
