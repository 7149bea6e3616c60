"""Kinds of layers of transformers, in TensorFlow's own operations.

Operations as in velodrome.adapters.frameworks.tensorflow.operations. Sequences are (batch, time,
n), or (time, batch, n) where a recurrent layer reads them so. Products run on the rows of all
steps: a product of three dimensions by two would be one for each example.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy
import tensorflow as tf

from velodrome.adapters.frameworks.rotary import compute_rotations
from velodrome.adapters.frameworks.tensorflow.precision import add_bias


class AttentionTables(NamedTuple):
    """Constants of an attention, made at build, for the longest sequence.

    mask: (time, time) float32, 0 or the lowest value, None unless causal. cosine, sine: (time,
    d / 2) float32, None without rotary positions.
    """

    mask: Any
    cosine: Any
    sine: Any


def make_tables(layer, steps, size):
    """Make an attention's tables. steps: the longest sequence; size: the values of a head.

    On several devices they are variables: a constant would lie on the first device alone.
    """
    mirrored = tf.distribute.has_strategy()
    keep = partial(tf.Variable, trainable=False) if mirrored else tf.constant
    mask = cosine = sine = None
    if layer.causal:
        mask = keep(numpy.triu(numpy.full((steps, steps), tf.float32.min, "float32"), 1))
    if layer.rotary:
        cosine, sine = (
            keep(table.astype(numpy.float32))
            for table in compute_rotations(layer.rotary, steps, size // 2)
        )
    return AttentionTables(mask, cosine, sine)


def attention(layer, weights, call, x):
    """Compute softmax(query key^T) value by products, with the softmax in float32.

    Heads that share a key and value stand one under another in one product with them.
    """
    x = _swap(call, x)
    batch, steps, size = _length(x, 0), _length(x, 1), x.shape[2] // layer.heads
    shared = layer.key_value_heads or layer.heads
    projected = _multiply_steps(x, weights["weight_input"], weights.get("bias_input"))
    widths = [layer.heads * size, shared * size, shared * size]
    query, key, value = (_split_heads(part, size) for part in tf.split(projected, widths, 2))
    query, key = _place(layer, call, query, size**-0.5), _place(layer, call, key, 1.0)
    query, key, value = (tf.cast(part, x.dtype) for part in (query, key, value))
    rows = layer.heads // shared * steps
    query = tf.reshape(query, [batch, shared, rows, size])
    scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
    scores = _mask(layer, call, tf.reshape(scores, [batch, layer.heads, steps, steps]))
    shares = tf.reshape(tf.nn.softmax(scores), [batch, shared, rows, steps])
    mixed = tf.matmul(tf.cast(shares, x.dtype), value)
    mixed = tf.transpose(tf.reshape(mixed, [batch, layer.heads, steps, size]), [0, 2, 1, 3])
    merged = tf.reshape(mixed, [batch, steps, x.shape[2]])
    return _swap(
        call, _multiply_steps(merged, weights["weight_output"], weights.get("bias_output"))
    )


def _split_heads(x, size):
    """Reshape (batch, time, n) to (batch, n / size, time, size)."""
    split = tf.reshape(x, [_length(x, 0), _length(x, 1), x.shape[2] // size, size])
    return tf.transpose(split, [0, 2, 1, 3])


def _place(layer, call, x, factor):
    """Rotate by the steps' angles, and scale: in float32, for in a lower type the factor is off."""
    if layer.rotary:
        tables, steps = call.tables[layer.name], _length(x, 2)
        cosine, sine = tables.cosine[:steps], tables.sine[:steps]
        first, second = tf.split(tf.cast(x, tf.float32), 2, 3)
        x = tf.concat([first * cosine - second * sine, second * cosine + first * sine], 3)
    return x if factor == 1.0 else tf.cast(x, tf.float32) * factor


def _mask(layer, call, scores):
    """Add the lowest value to the scores (batch, heads, time, time) of keys that do not count."""
    steps = _length(scores, 3)
    if layer.causal:
        scores += call.tables[layer.name].mask[:steps, :steps]
    if call.lengths is not None:
        beyond = 1.0 - tf.sequence_mask(call.lengths, steps, tf.float32)
        scores += (beyond * tf.float32.min)[:, None, None, :]
    return scores


def _multiply_steps(x, weight, bias=None):
    """Multiply every step by a weight (n, units)."""
    product = tf.matmul(tf.reshape(x, [-1, x.shape[2]]), weight)
    if bias is not None:
        product = add_bias(product, bias)
    return tf.reshape(product, [_length(x, 0), _length(x, 1), weight.shape[1]])


def _length(x, axis):
    """Return the length of an axis: a number where it is the same for all batches."""
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _swap(call, x):
    """Swap batch and time where sequences are time first, to be batch first, and back."""
    return tf.transpose(x, [1, 0, 2]) if call.time_first else x


def step_linear(layer, weights, call, x):
    return _multiply_steps(x, weights["weight"], weights.get("bias"))


def tied_linear(layer, weights, call, x):
    rows = tf.reshape(x, [-1, x.shape[2]])
    product = tf.matmul(rows, weights["weight"], transpose_b=True)
    return tf.reshape(product, [_length(x, 0), _length(x, 1), product.shape[1]])


def layer_norm(layer, weights, call, x):
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    factor = tf.math.rsqrt(variance + layer.epsilon) * weights["scale"]
    return (x - mean) * factor + weights["bias"]


def rms_norm(layer, weights, call, x):
    square = tf.reduce_mean(tf.square(x), -1, keepdims=True)
    return x * tf.math.rsqrt(square + layer.epsilon) * weights["scale"]


def learned_positions(layer, weights, call, x):
    used = weights["weight"][: _length(x, 0 if call.time_first else 1)]
    return x + (used[:, None] if call.time_first else used)


def patches(layer, weights, call, x):
    return _swap(call, tf.reshape(x, [_length(x, 0), x.shape[1] * x.shape[2], x.shape[3]]))


def class_token(layer, weights, call, x):
    axis = 0 if call.time_first else 1
    token = tf.zeros_like(x[:1] if call.time_first else x[:, :1]) + weights["weight"]
    return tf.concat([token, x], axis)


def first_step(layer, weights, call, x):
    return x[0] if call.time_first else x[:, 0]


def mean_over_time(layer, weights, call, x):
    axis = 0 if call.time_first else 1
    if call.lengths is None:
        return tf.reduce_mean(x, axis)
    within = tf.sequence_mask(call.lengths, _length(x, axis), x.dtype)
    within = tf.transpose(within) if call.time_first else within
    total = tf.reduce_sum(x * within[:, :, None], axis)
    return total / tf.cast(call.lengths, x.dtype)[:, None]
