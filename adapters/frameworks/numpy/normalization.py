"""Batch normalization as in training: mean and variance are the batch's own, per channel."""

import numpy

from velodrome.adapters.frameworks.numpy.operation import Operation

_OVER = (0, 2, 3)


def _per_channel(values):
    return values[:, None, None]


def _forward(layer, weights, inputs, call):
    (x,) = inputs
    centred = x - x.mean(axis=_OVER, keepdims=True)
    deviation = numpy.sqrt((centred * centred).mean(axis=_OVER, keepdims=True) + layer.epsilon)
    normalized = centred / deviation
    y = normalized * _per_channel(weights["scale"]) + _per_channel(weights["bias"])
    return y, (normalized, deviation)


def _backward(layer, weights, saved, gradient, wanted):
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


BATCH_NORM = Operation(_forward, _backward)
