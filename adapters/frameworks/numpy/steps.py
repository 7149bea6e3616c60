"""Layers that compute each step of a sequence independently: (batch, time, n)."""

from typing import FrozenSet, Tuple

import numpy

from velodrome.adapters.frameworks.numpy.operation import (
    Array,
    CallContext,
    Gradients,
    Operation,
    Weights,
)
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.shapes import Shape


def flatten_steps(x: Array) -> Array:
    """Reshape (batch, time, n) to (batch * time, n)."""
    return x.reshape(-1, x.shape[2])


def _linear_forward(
    layer: kinds.StepLinear, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    (x,) = inputs
    y = flatten_steps(x) @ weights["weight"].T
    if layer.bias:
        y += weights["bias"]
    return y.reshape(x.shape[:2] + (-1,)), x


def _linear_backward(
    layer: kinds.StepLinear, weights: Weights, x: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    of_steps = flatten_steps(gradient)
    of_roles = {"weight": of_steps.T @ flatten_steps(x)}
    if layer.bias:
        of_roles["bias"] = of_steps.sum(axis=0)
    of_input = (of_steps @ weights["weight"]).reshape(x.shape) if "input" in wanted else None
    return (of_input,), of_roles


def _tied_forward(
    layer: kinds.TiedLinear, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    (x,) = inputs
    return (flatten_steps(x) @ weights["weight"].T).reshape(x.shape[:2] + (-1,)), x


def _tied_backward(
    layer: kinds.TiedLinear, weights: Weights, x: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    of_steps = flatten_steps(gradient)
    of_input = (of_steps @ weights["weight"]).reshape(x.shape)
    return (of_input,), {"weight": of_steps.T @ flatten_steps(x)}


def _positions_forward(
    layer: kinds.LearnedPositions, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, None]:
    (x,) = inputs
    return x + weights["weight"][: x.shape[1]], None


def _positions_backward(
    layer: kinds.LearnedPositions,
    weights: Weights,
    saved: None,
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    of_weight = numpy.zeros_like(weights["weight"])
    of_weight[: gradient.shape[1]] = gradient.sum(axis=0)
    return (gradient,), {"weight": of_weight}


def _patches_forward(
    layer: kinds.Patches, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Shape]:
    (x,) = inputs
    return x.reshape(x.shape[:2] + (-1,)).transpose(0, 2, 1), x.shape


def _patches_backward(
    layer: kinds.Patches, weights: Weights, shape: Shape, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    return (gradient.transpose(0, 2, 1).reshape(shape),), {}


def _token_forward(
    layer: kinds.ClassToken, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, None]:
    (x,) = inputs
    token = numpy.broadcast_to(weights["weight"], (len(x), 1, x.shape[2]))
    return numpy.concatenate((token, x), axis=1), None


def _token_backward(
    layer: kinds.ClassToken, weights: Weights, saved: None, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    return (gradient[:, 1:],), {"weight": gradient[:, 0].sum(axis=0)}


def _first_forward(
    layer: kinds.FirstStep, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Shape]:
    (x,) = inputs
    return x[:, 0], x.shape


def _first_backward(
    layer: kinds.FirstStep, weights: Weights, shape: Shape, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    of_input = numpy.zeros(shape)
    of_input[:, 0] = gradient
    return (of_input,), {}


STEP_LINEAR = Operation(_linear_forward, _linear_backward)
TIED_LINEAR = Operation(_tied_forward, _tied_backward)
LEARNED_POSITIONS = Operation(_positions_forward, _positions_backward)
PATCHES = Operation(_patches_forward, _patches_backward)
CLASS_TOKEN = Operation(_token_forward, _token_backward)
FIRST_STEP = Operation(_first_forward, _first_backward)
