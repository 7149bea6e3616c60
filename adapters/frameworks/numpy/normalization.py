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

_IMAGE_AXES, _STEP_AXES = (0, 2, 3), (2,)  # of which mean and variance are taken


def _per_channel(values: Array) -> Array:
    return values[:, None, None]


def _standardize(x: Array, axes: Tuple[int, ...], epsilon: float) -> Tuple[Array, Array]:
    """Return (x - mean) / deviation, and the deviation."""
    centred = x - x.mean(axis=axes, keepdims=True)
    deviation = numpy.sqrt((centred * centred).mean(axis=axes, keepdims=True) + epsilon)
    return centred / deviation, deviation


def _standardize_back(
    normalized: Array, deviation: Array, gradient: Array, axes: Tuple[int, ...]
) -> Array:
    """Return the gradient of x, with what flows back through the mean and the variance."""
    by_mean = gradient.mean(axis=axes, keepdims=True)
    by_variance = normalized * (gradient * normalized).mean(axis=axes, keepdims=True)
    of_input: Array = (gradient - by_mean - by_variance) / deviation
    return of_input


def _forward(
    layer: kinds.BatchNorm, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Array]]:
    if call.statistics is None:
        normalized, deviation = _standardize(inputs[0], _IMAGE_AXES, layer.epsilon)
    else:
        mean, variance = (
            call.statistics["{}.{}".format(layer.name, role)].astype(numpy.float64)
            for role in ("mean", "variance")
        )
        deviation = _per_channel(numpy.sqrt(variance + layer.epsilon))
        normalized = (inputs[0] - _per_channel(mean)) / deviation
    y = normalized * _per_channel(weights["scale"]) + _per_channel(weights["bias"])
    return y, (normalized, deviation)


def measure_statistics(name: str, x: Array) -> Weights:
    """Return mean and variance per channel of images x, as `name.mean` and `name.variance`."""
    return {
        "{}.mean".format(name): x.mean(axis=_IMAGE_AXES).astype(numpy.float32),
        "{}.variance".format(name): x.var(axis=_IMAGE_AXES).astype(numpy.float32),
    }


def _backward(
    layer: kinds.BatchNorm,
    weights: Weights,
    saved: Tuple[Array, Array],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    normalized, deviation = saved
    of_roles = {
        "scale": (gradient * normalized).sum(axis=_IMAGE_AXES),
        "bias": gradient.sum(axis=_IMAGE_AXES),
    }
    inner = gradient * _per_channel(weights["scale"])
    return (_standardize_back(normalized, deviation, inner, _IMAGE_AXES),), of_roles


def _layer_forward(
    layer: kinds.LayerNorm, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Array]]:
    normalized, deviation = _standardize(inputs[0], _STEP_AXES, layer.epsilon)
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
    return (_standardize_back(normalized, deviation, inner, _STEP_AXES),), of_roles


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
