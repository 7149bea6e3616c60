"""Layers that compute each value independently."""

import math
from typing import FrozenSet, Optional, Tuple

import numpy

from velodrome.adapters.frameworks.numpy.operation import (
    Array,
    CallContext,
    Gradients,
    Operation,
    Weights,
)
from velodrome.adapters.models import layers as kinds


def _relu_forward(
    layer: kinds.Relu, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    (x,) = inputs
    return numpy.maximum(x, 0.0), x > 0.0


def _relu_backward(
    layer: kinds.Relu, weights: Weights, positive: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    return (gradient * positive,), {}


def _tanh_forward(
    layer: kinds.Tanh, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    y = numpy.tanh(inputs[0])
    return y, y


def _tanh_backward(
    layer: kinds.Tanh, weights: Weights, y: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    return (gradient * (1.0 - y * y),), {}


def compute_sigmoid(x: Array) -> Array:
    """Compute 1 / (1 + e^-x) without overflow."""
    return 0.5 * (1.0 + numpy.tanh(0.5 * x))


def _sigmoid_forward(
    layer: kinds.Sigmoid, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    y = compute_sigmoid(inputs[0])
    return y, y


def _sigmoid_backward(
    layer: kinds.Sigmoid, weights: Weights, y: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    return (gradient * y * (1.0 - y),), {}


_GELU_FACTOR, _GELU_CUBE = math.sqrt(2.0 / math.pi), 0.044715


def _gelu_forward(
    layer: kinds.Gelu, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Array]]:
    (x,) = inputs
    share = numpy.tanh(_GELU_FACTOR * (x + _GELU_CUBE * x * x * x))
    return 0.5 * x * (1.0 + share), (x, share)


def _gelu_backward(
    layer: kinds.Gelu,
    weights: Weights,
    saved: Tuple[Array, Array],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    x, share = saved
    slope = _GELU_FACTOR * (1.0 + 3.0 * _GELU_CUBE * x * x) * (1.0 - share * share)
    return (gradient * 0.5 * (1.0 + share + x * slope),), {}


def _silu_forward(
    layer: kinds.Silu, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Array]]:
    (x,) = inputs
    share = compute_sigmoid(x)
    return x * share, (x, share)


def _silu_backward(
    layer: kinds.Silu,
    weights: Weights,
    saved: Tuple[Array, Array],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    x, share = saved
    return (gradient * share * (1.0 + x * (1.0 - share)),), {}


def _dropout_forward(
    layer: kinds.Dropout, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Optional[Array]]:
    (x,) = inputs
    if call.dropout is None:
        return x, None
    mask = (call.dropout.random_sample(x.shape) >= layer.rate) / (1.0 - layer.rate)
    return x * mask, mask


def _dropout_backward(
    layer: kinds.Dropout,
    weights: Weights,
    mask: Optional[Array],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    return (gradient if mask is None else gradient * mask,), {}


def _duplicate_forward(
    layer: kinds.Duplicate, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, None]:
    return inputs[0].copy(), None


def _duplicate_backward(
    layer: kinds.Duplicate, weights: Weights, saved: None, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    return (gradient,), {}


def _add_forward(
    layer: kinds.Add, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, None]:
    return inputs[0] + inputs[1], None


def _add_backward(
    layer: kinds.Add, weights: Weights, saved: None, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    return (gradient, gradient), {}


def _multiply_forward(
    layer: kinds.Multiply, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, ...]]:
    return inputs[0] * inputs[1], inputs


def _multiply_backward(
    layer: kinds.Multiply,
    weights: Weights,
    inputs: Tuple[Array, ...],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    return (gradient * inputs[1], gradient * inputs[0]), {}


def _custom_forward(
    layer: kinds.Custom, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    (x,) = inputs
    return x * abs(x), x


def _custom_backward(
    layer: kinds.Custom, weights: Weights, x: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    """Apply the backward rule of kinds.Custom, which is not the derivative of forward."""
    return (gradient * 2.0 * abs(x) / (1.0 + abs(x)),), {}


RELU = Operation(_relu_forward, _relu_backward)
TANH = Operation(_tanh_forward, _tanh_backward)
SIGMOID = Operation(_sigmoid_forward, _sigmoid_backward)
DROPOUT = Operation(_dropout_forward, _dropout_backward)
DUPLICATE = Operation(_duplicate_forward, _duplicate_backward)
GELU = Operation(_gelu_forward, _gelu_backward)
SILU = Operation(_silu_forward, _silu_backward)
ADD = Operation(_add_forward, _add_backward)
MULTIPLY = Operation(_multiply_forward, _multiply_backward)
CUSTOM = Operation(_custom_forward, _custom_backward)
