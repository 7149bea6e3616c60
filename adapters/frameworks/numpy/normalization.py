"""Normalization layers: over a batch, as in training, and over the values of each step."""

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

_OVER = (0, 2, 3)


def _per_channel(values: Array) -> Array:
    return values[:, None, None]


def _forward(
    layer: kinds.BatchNorm, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Array]]:
    (x,) = inputs
    centred = x - x.mean(axis=_OVER, keepdims=True)
    deviation = numpy.sqrt((centred * centred).mean(axis=_OVER, keepdims=True) + layer.epsilon)
    normalized = centred / deviation
    y = normalized * _per_channel(weights["scale"]) + _per_channel(weights["bias"])
    return y, (normalized, deviation)


def _backward(
    layer: kinds.BatchNorm,
    weights: Weights,
    saved: Tuple[Array, Array],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    normalized, deviation = saved
    of_roles = {
        "scale": (gradient * normalized).sum(axis=_OVER),
        "bias": gradient.sum(axis=_OVER),
    }
    inner = gradient * _per_channel(weights["scale"])
    # What flows back through the mean, and through the variance.
    by_mean = inner.mean(axis=_OVER, keepdims=True)
    by_variance = normalized * (inner * normalized).mean(axis=_OVER, keepdims=True)
    return ((inner - by_mean - by_variance) / deviation,), of_roles


def _layer_forward(
    layer: kinds.LayerNorm, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Array]]:
    (x,) = inputs
    centred = x - x.mean(axis=2, keepdims=True)
    deviation = numpy.sqrt((centred * centred).mean(axis=2, keepdims=True) + layer.epsilon)
    normalized = centred / deviation
    return normalized * weights["scale"] + weights["bias"], (normalized, deviation)


def _layer_backward(
    layer: kinds.LayerNorm,
    weights: Weights,
    saved: Tuple[Array, Array],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    normalized, deviation = saved
    of_roles = {
        "scale": (gradient * normalized).sum(axis=(0, 1)),
        "bias": gradient.sum(axis=(0, 1)),
    }
    inner = gradient * weights["scale"]
    by_mean = inner.mean(axis=2, keepdims=True)
    by_variance = normalized * (inner * normalized).mean(axis=2, keepdims=True)
    return ((inner - by_mean - by_variance) / deviation,), of_roles


def _rms_forward(
    layer: kinds.RmsNorm, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Array]]:
    (x,) = inputs
    root = numpy.sqrt((x * x).mean(axis=2, keepdims=True) + layer.epsilon)
    normalized = x / root
    return normalized * weights["scale"], (normalized, root)


def _rms_backward(
    layer: kinds.RmsNorm,
    weights: Weights,
    saved: Tuple[Array, Array],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    normalized, root = saved
    of_roles = {"scale": (gradient * normalized).sum(axis=(0, 1))}
    inner = gradient * weights["scale"]
    by_square = normalized * (inner * normalized).mean(axis=2, keepdims=True)
    return ((inner - by_square) / root,), of_roles


LAYER_NORM = Operation(_layer_forward, _layer_backward)
RMS_NORM = Operation(_rms_forward, _rms_backward)
BATCH_NORM = Operation(_forward, _backward)
