"""Layers and losses in JAX: an entry of OPERATIONS or LOSSES for each kind.

Operations take the layer, its weights by role, the Call, and what the layer reads. Images are
(batch, height, width, channels), which XLA's kernels for the CPU want; sequences are batch first,
or time first where a recurrent layer reads them.
"""

from functools import partial
from typing import Any, Dict, NamedTuple, Optional

import jax
import jax.numpy as jnp
from jax import lax

from velodrome.adapters.frameworks.jax import (
    collectives,
    copies,
    probe_layers,
    transformer_layers,
)
from velodrome.adapters.frameworks.jax.precision import multiply
from velodrome.adapters.models import layers as kinds


class JaxContext(NamedTuple):
    """Data that a layer may need besides its input."""

    lengths: Any  # (batch,) int32, None where there are no sequences
    rates: Dict[str, Any]  # per dropout layer, a float32 that is 0 while dropout is off
    keys: Dict[str, Any]  # per dropout layer, the key of its random numbers in this call
    dtype: Any  # the type of products
    time_first: bool  # sequences are (time, batch, n), not (batch, time, n)
    statistics: Optional[Dict[str, Any]] = None  # of batch normalization, in evaluation alone

    @property
    def is_training(self) -> bool:
        return self.statistics is None


def _conv(layer, weights, call, x):
    product = _convolve(layer, x, weights["weight"], layer.groups, call.dtype)
    return product + weights["bias"] if layer.bias else product


def _conv_by_group(layer, weights, call, x):
    """Convolve group by group: XLA's grouped one takes three to five times as long on a CPU."""
    if layer.groups == x.shape[3]:
        return _conv(layer, weights, call, x)
    groups = zip(
        jnp.split(x, layer.groups, axis=3), jnp.split(weights["weight"], layer.groups, axis=3)
    )
    parts = [_convolve(layer, own, weight, 1, call.dtype) for own, weight in groups]
    product = jnp.concatenate(parts, axis=3)
    return product + weights["bias"] if layer.bias else product


def _convolve(layer, x, weight, groups, dtype):
    return lax.conv_general_dilated(
        x.astype(dtype),
        weight.astype(dtype),
        window_strides=(layer.stride, layer.stride),
        padding=[(layer.padding, layer.padding)] * 2,
        dimension_numbers=probe_layers.LAYOUT,
        feature_group_count=groups,
    )


def _linear(layer, weights, call, x):
    product = multiply(x.reshape(x.shape[0], -1), weights["weight"], call.dtype)
    return product + weights["bias"] if layer.bias else product


def _max_pool(layer, weights, call, x):
    window, strides = (1, layer.size, layer.size, 1), (1, layer.stride, layer.stride, 1)
    edges = [(0, 0), (layer.padding, layer.padding), (layer.padding, layer.padding), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, edges)


def _lrn(layer, weights, call, x):
    """Compose LRN from a window over the channels, in a fifth of the time of shifted sums."""
    x = x.astype(jnp.float32)
    around = (layer.size // 2, (layer.size - 1) // 2)
    total = lax.reduce_window(
        x * x, 0.0, lax.add, (1, 1, 1, layer.size), (1, 1, 1, 1), [(0, 0), (0, 0), (0, 0), around]
    )
    return x / (layer.k + layer.alpha / layer.size * total) ** layer.beta


def _dropout(layer, weights, call, x):
    if not call.is_training:
        return x
    share = 1.0 - call.rates[layer.name]
    return jnp.where(jax.random.bernoulli(call.keys[layer.name], share, x.shape), x / share, 0.0)


def _embedding(layer, weights, call, x):
    return jnp.take(weights["weight"], x, axis=0, mode="clip")


@partial(jax.jit, static_argnames="dtype")
def _scan(x, dtype, weight_input, weight_hidden, bias):
    """Map x (time, batch, in) to h (time, batch, units). Eager runs compile it too, as any scan.

    The input's products are one product before the loop. It runs on through the padding, which
    comes after an example's true steps and so changes none of them; the mean leaves it out.
    """

    def step(state, before):
        cell, hidden = state
        i, f, g, o = jnp.split(before + multiply(hidden, weight_hidden, dtype), 4, axis=1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (cell, hidden), hidden

    zeros = jnp.zeros((x.shape[1], weight_hidden.shape[0]), jnp.float32)
    return lax.scan(step, (zeros, zeros), multiply(x, weight_input, dtype) + bias)[1]


def _mean_over_time(layer, weights, call, x):
    time = 0 if call.time_first else 1
    if call.lengths is None:
        return jnp.mean(x, axis=time, dtype=jnp.float32)
    steps = jnp.arange(x.shape[time])
    within = steps[:, None] < call.lengths if call.time_first else steps < call.lengths[:, None]
    total = jnp.sum(x, axis=time, dtype=jnp.float32, where=within[:, :, None])
    return total / call.lengths[:, None]


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
    kinds.Gelu: lambda layer, weights, call, x: jax.nn.gelu(x, approximate=True),
    kinds.Silu: lambda layer, weights, call, x: jax.nn.silu(x),
    kinds.Lrn: _lrn,
    kinds.Dropout: _dropout,
    kinds.Embedding: _embedding,
    kinds.Lstm: lambda layer, weights, call, x: _scan(x, call.dtype, **weights),
    kinds.Gru: probe_layers.gru,
    kinds.Loop: probe_layers.loop,
    kinds.Add: lambda layer, weights, call, left, right: left + right,
    kinds.Multiply: lambda layer, weights, call, left, right: left * right,
    kinds.MeanOverImage: transformer_layers.mean_over_image,
    kinds.StepLinear: transformer_layers.step_linear,
    kinds.TiedLinear: transformer_layers.tied_linear,
    kinds.LayerNorm: transformer_layers.layer_norm,
    kinds.RmsNorm: transformer_layers.rms_norm,
    kinds.Custom: lambda layer, weights, call, x: probe_layers.signed_square(x),
    kinds.MeanOverTime: _mean_over_time,
    kinds.Duplicate: lambda layer, weights, call, x: jnp.copy(x),
    kinds.Collective: collectives.exchange,
    kinds.Transfer: copies.keep,
}


def choice(layer, platform, time_first):
    """Choose the operation of a layer on `cpu` or `gpu`; KeyError if its kind has none."""
    if isinstance(layer, kinds.Conv) and layer.groups > 1 and platform == "cpu":
        return _conv_by_group
    if type(layer) in transformer_layers.OPERATIONS:
        operation = transformer_layers.OPERATIONS[type(layer)]
        return transformer_layers.swap_time(operation) if time_first else operation
    return OPERATIONS[type(layer)]


def _cross_entropy(loss, output, values, labels):
    """Compute the mean over all labels: (batch,), or (batch, time) and the output alike."""
    output = output.astype(jnp.float32)
    chosen = jnp.take_along_axis(output, labels[..., None], axis=-1)[..., 0]
    return (jax.nn.logsumexp(output, axis=-1) - chosen).mean()


def _squared_error(loss, output, values, labels):
    """Add up squares as a product with itself: XLA adds a few hundred one after the other."""
    output = output.astype(jnp.float32)
    if loss.target != "zero":
        target = lax.stop_gradient(values[loss.target])
        if target.ndim == 4 and output.ndim == 2:
            target = target.transpose(0, 3, 1, 2)
        output = output - target.reshape(output.shape)
    return jnp.vdot(output, output, precision="highest") / (2 * output.shape[0])


LOSSES = {
    kinds.SoftmaxCrossEntropy: _cross_entropy,
    kinds.StepCrossEntropy: _cross_entropy,
    kinds.SquaredError: _squared_error,
    kinds.NoLoss: lambda loss, output, values, labels: output,
}
