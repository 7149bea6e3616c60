"""The linear layer, over the flattened example."""

from typing import FrozenSet, Tuple

from velodrome.adapters.frameworks.numpy.operation import (
    Array,
    CallContext,
    Gradients,
    Operation,
    Weights,
)
from velodrome.adapters.models import layers as kinds


def _forward(
    layer: kinds.Linear, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    (x,) = inputs
    flat = x.reshape(len(x), -1)
    y = flat @ weights["weight"].T
    if layer.bias:
        y += weights["bias"]
    return y, x


def _backward(
    layer: kinds.Linear, weights: Weights, x: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    flat = x.reshape(len(x), -1)
    of_roles = {"weight": gradient.T @ flat} if "weight" in wanted else {}
    if "bias" in wanted:
        of_roles["bias"] = gradient.sum(axis=0)
    of_input = (gradient @ weights["weight"]).reshape(x.shape) if "input" in wanted else None
    return (of_input,), of_roles


LINEAR = Operation(_forward, _backward)
