"""CNTK functions for layers that read sequences, step by step.

x is (n,) with a sequence axis, of examples as long as they truly are, or (time, n) without one.
"""

import math

import cntk

GELU_FACTOR, GELU_CUBE = math.sqrt(2.0 / math.pi), 0.044715


def has_sequence_axis(x):
    return len(x.dynamic_axes) > 1


def embed(layer, weight, x):
    """Gather rows: the usual product with one-hot vectors has a sparse gradient."""
    rows = cntk.gather(weight("weight"), x)
    return cntk.reshape(rows, (layer.units,)) if has_sequence_axis(x) else rows


def multiply_tied(layer, weight, x):
    return cntk.times(x, cntk.swapaxes(weight("weight"), 0, 1))


def normalize_layer(layer, weight, x):
    centred = x - cntk.reduce_mean(x, axis=-1)
    variance = cntk.reduce_mean(cntk.square(centred), axis=-1)
    return centred / cntk.sqrt(variance + layer.epsilon) * weight("scale") + weight("bias")


def normalize_rms(layer, weight, x):
    square = cntk.reduce_mean(cntk.square(x), axis=-1)
    return x / cntk.sqrt(square + layer.epsilon) * weight("scale")


def add_positions(layer, weight, x, numbers):
    """Add a row per step. numbers: of each step; without a sequence axis they are not read."""
    if has_sequence_axis(x):
        return x + cntk.reshape(cntk.gather(weight("weight"), numbers), x.shape)
    return x + cntk.slice(weight("weight"), 0, 0, x.shape[0])


def make_patches(layer, weight, x):
    """Turn (n, height, width) into (time, n)."""
    return cntk.swapaxes(cntk.reshape(x, (x.shape[0], x.shape[1] * x.shape[2])), 0, 1)


def add_class_token(layer, weight, x):
    token = cntk.reshape(weight("weight"), (1, x.shape[1]))
    return cntk.splice(token, x, axis=0)


def take_first_step(layer, weight, x):
    if has_sequence_axis(x):
        return cntk.sequence.first(x)
    return cntk.reshape(cntk.slice(x, 0, 0, 1), (x.shape[1],))


def average_steps(layer, weight, x, lengths):
    """Average over the steps. lengths: of the examples; without a sequence axis not read."""
    if has_sequence_axis(x):
        return cntk.sequence.reduce_sum(x) / lengths
    return cntk.reshape(cntk.reduce_mean(x, axis=0), (x.shape[1],))


def compute_gelu(layer, weight, x):
    """Compute GELU in its tanh form."""
    half = x * 0.5
    inner = x * (cntk.square(x) * (GELU_FACTOR * GELU_CUBE) + GELU_FACTOR)
    return half + half * cntk.tanh(inner)
