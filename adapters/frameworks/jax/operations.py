"""Layers and losses in JAX: an entry of OPERATIONS or LOSSES for each kind.

Operations take the layer, its weights by role, the Call, and what the layer reads. Images are
(batch, height, width, channels), which XLA's kernels for the CPU want; sequences come time first.
"""

from typing import Any, Dict, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from velodrome.adapters.frameworks.jax import probe_layers
from velodrome.adapters.models import layers as kinds


class JaxContext(NamedTuple):
    """Data that a layer may need besides its input."""

    lengths: Any  # (batch,) int32, None where there are no sequences
    rates: Dict[str, Any]  # per dropout layer, a float32 that is 0 while dropout is off
    keys: Dict[str, Any]  # per dropout layer, the key of its random numbers in this call


def _conv(layer, weights, call, x):
    return _convolve(layer, x, weights["weight"], layer.groups) + weights["bias"]


def _conv_by_group(layer, weights, call, x):
    """Convolve group by group: XLA's grouped one takes three to five times as long on a CPU."""
    if layer.groups == x.shape[3]:
        return _conv(layer, weights, call, x)
    groups = zip(
        jnp.split(x, layer.groups, axis=3), jnp.split(weights["weight"], layer.groups, axis=3)
    )
    parts = [_convolve(layer, own, weight, 1) for own, weight in groups]
    return jnp.concatenate(parts, axis=3) + weights["bias"]


def _convolve(layer, x, weight, groups):
    return lax.conv_general_dilated(
        x,
        weight,
        window_strides=(layer.stride, layer.stride),
        padding=[(layer.padding, layer.padding)] * 2,
        dimension_numbers=probe_layers.LAYOUT,
        feature_group_count=groups,
    )


def _linear(layer, weights, call, x):
    product = x.reshape(x.shape[0], -1) @ weights["weight"]
    return product + weights["bias"] if layer.bias else product


def _max_pool(layer, weights, call, x):
    window, strides = (1, layer.size, layer.size, 1), (1, layer.stride, layer.stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, "VALID")


def _lrn(layer, weights, call, x):
    """Compose LRN from a window over the channels, in a fifth of the time of shifted sums."""
    around = (layer.size // 2, (layer.size - 1) // 2)
    total = lax.reduce_window(
        x * x, 0.0, lax.add, (1, 1, 1, layer.size), (1, 1, 1, 1), [(0, 0), (0, 0), (0, 0), around]
    )
    return x / (layer.k + layer.alpha / layer.size * total) ** layer.beta


def _dropout(layer, weights, call, x):
    share = 1.0 - call.rates[layer.name]
    return jnp.where(jax.random.bernoulli(call.keys[layer.name], share, x.shape), x / share, 0.0)


def _embedding(layer, weights, call, x):
    return jnp.take(weights["weight"], x, axis=0, mode="clip")


@jax.jit
def _scan(x, weight_input, weight_hidden, bias):
    """Map x (time, batch, in) to h (time, batch, units). Eager runs compile it too, as any scan.

    The input's products are one product before the loop. It runs on through the padding, which
    comes after an example's true steps and so changes none of them; the mean leaves it out.
    """

    def step(state, before):
        cell, hidden = state
        i, f, g, o = jnp.split(before + hidden @ weight_hidden, 4, axis=1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (cell, hidden), hidden

    zeros = jnp.zeros((x.shape[1], weight_hidden.shape[0]), x.dtype)
    return lax.scan(step, (zeros, zeros), x @ weight_input + bias)[1]


def _mean_over_time(layer, weights, call, x):
    within = jnp.arange(x.shape[0])[:, None] < call.lengths
    return jnp.where(within[:, :, None], x, 0.0).sum(0) / call.lengths[:, None]


OPERATIONS = {
    kinds.Conv: _conv,
    kinds.DilatedConv: probe_layers.dilated_conv,
    kinds.TransposedConv: probe_layers.transposed_conv,
    kinds.Linear: _linear,
    kinds.MaxPool: _max_pool,
    kinds.AvgPool: probe_layers.average_pool,
    kinds.BatchNorm: probe_layers.batch_norm,
    kinds.Relu: lambda layer, weights, call, x: jax.nn.relu(x),
    kinds.Tanh: lambda layer, weights, call, x: jnp.tanh(x),
    kinds.Sigmoid: lambda layer, weights, call, x: jax.nn.sigmoid(x),
    kinds.Lrn: _lrn,
    kinds.Dropout: _dropout,
    kinds.Embedding: _embedding,
    kinds.Lstm: lambda layer, weights, call, x: _scan(x, **weights),
    kinds.Gru: probe_layers.gru,
    kinds.Attention: probe_layers.attention,
    kinds.Loop: probe_layers.loop,
    kinds.Add: lambda layer, weights, call, left, right: left + right,
    kinds.Custom: lambda layer, weights, call, x: probe_layers.signed_square(x),
    kinds.MeanOverTime: _mean_over_time,
    kinds.Duplicate: lambda layer, weights, call, x: jnp.copy(x),
}


def choice(layer, platform):
    """Choose the operation of a layer on `cpu` or `gpu`; KeyError if its kind has none."""
    if isinstance(layer, kinds.Conv) and layer.groups > 1 and platform == "cpu":
        return _conv_by_group
    return OPERATIONS[type(layer)]


def _cross_entropy(loss, output, values, labels):
    chosen = jnp.take_along_axis(output, labels[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(output, axis=1) - chosen).mean()


def _squared_error(loss, output, values, labels):
    if loss.target != "zero":
        target = lax.stop_gradient(values[loss.target])
        if target.ndim == 4 and output.ndim == 2:
            target = target.transpose(0, 3, 1, 2)
        output = output - target.reshape(output.shape)
    return jnp.square(output).sum() / (2 * output.shape[0])


LOSSES = {
    kinds.SoftmaxCrossEntropy: _cross_entropy,
    kinds.SquaredError: _squared_error,
    kinds.NoLoss: lambda loss, output, values, labels: output,
}
