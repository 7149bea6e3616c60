"""Kinds of layers that transformers and residual networks have, in JAX's own operations.

Operations as in velodrome.adapters.frameworks.jax.operations. Sequences are (batch, time, n).
"""

import jax
import jax.numpy as jnp
import numpy
from jax import lax

from velodrome.adapters.frameworks.jax.precision import multiply
from velodrome.adapters.frameworks.rotary import compute_rotations
from velodrome.adapters.models import layers as kinds


def step_linear(layer, weights, call, x):
    product = multiply(x, weights["weight"], call.dtype)
    return product + weights["bias"] if layer.bias else product


def tied_linear(layer, weights, call, x):
    """Multiply with the embedding's table as it lies: nothing is transposed, not even in eager."""
    table = weights["weight"].astype(call.dtype)
    return jnp.einsum("...n,vn->...v", x.astype(call.dtype), table)


def layer_norm(layer, weights, call, x):
    """Normalize as Flax does: variance as the mean of squares less the squared mean."""
    x = x.astype(jnp.float32)
    normalized = jax.nn.standardize(x, axis=-1, epsilon=layer.epsilon)
    return normalized * weights["scale"] + weights["bias"]


def rms_norm(layer, weights, call, x):
    x = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    return x * lax.rsqrt(mean_square + layer.epsilon) * weights["scale"]


def learned_positions(layer, weights, call, x):
    rows = weights["weight"][: x.shape[1]]
    beyond = x.shape[1] - rows.shape[0]  # of padding, where it ends behind the last position
    return x + (jnp.pad(rows, ((0, beyond), (0, 0))) if beyond else rows)


def patches(layer, weights, call, x):
    batch, height, width, channels = x.shape
    return x.reshape(batch, height * width, channels)


def class_token(layer, weights, call, x):
    token = jnp.broadcast_to(weights["weight"], (x.shape[0], 1, x.shape[2]))
    return jnp.concatenate((token, x.astype(token.dtype)), axis=1)


def first_step(layer, weights, call, x):
    return x[:, 0]


def mean_over_image(layer, weights, call, x):
    return jnp.mean(x, axis=(1, 2), dtype=jnp.float32)


def attention(layer, weights, call, x):
    """Compute attention with JAX's own, on (batch, time, heads, n / heads)."""
    product = multiply(x, weights["weight_input"], call.dtype)
    if layer.bias:
        product += weights["bias_input"]
    batch, time, n = x.shape
    size, shared = n // layer.heads, layer.key_value_heads or layer.heads
    ends = [layer.heads * size, (layer.heads + shared) * size]
    query, key, value = (
        part.reshape(batch, time, -1, size) for part in jnp.split(product, ends, axis=2)
    )
    if layer.rotary:
        query, key = (_rotate(part, weights["cosine"], weights["sine"]) for part in (query, key))
    parts = (part.astype(call.dtype) for part in (query, key, value))
    mixed = jax.nn.dot_product_attention(
        *parts, is_causal=layer.causal, key_value_seq_lengths=call.lengths
    )
    product = multiply(mixed.reshape(batch, time, n), weights["weight_output"], call.dtype)
    return product + weights["bias_output"] if layer.bias else product


def make_rotary_tables(layer, steps, n):
    """Return the cosines and sines of rotary positions by role, (steps, 1, d / 2) float32."""
    tables = compute_rotations(layer.rotary, steps, n // layer.heads // 2)
    return {
        role: table[:, None].astype(numpy.float32)
        for role, table in zip(("cosine", "sine"), tables)
    }


@jax.jit
def _rotate(x, cosine, sine):
    """Rotate pairs of halves, in float32. Eager runs compile it too, as JAX's own operations."""
    cosine, sine = cosine[: x.shape[1]], sine[: x.shape[1]]
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=3)
    rotated = (first * cosine - second * sine, second * cosine + first * sine)
    return jnp.concatenate(rotated, axis=3)


# Kinds that read or give sequences in this module's layout.
OPERATIONS = {
    kinds.Attention: attention,
    kinds.LearnedPositions: learned_positions,
    kinds.Patches: patches,
    kinds.ClassToken: class_token,
    kinds.FirstStep: first_step,
}


def swap_time(operation):
    """Return the operation for a model whose sequences are (time, batch, n)."""

    def swapped(layer, weights, call, *inputs):
        output = operation(layer, weights, call, *(_swap(x) for x in inputs))
        return _swap(output)

    return swapped


def _swap(x):
    return x.swapaxes(0, 1) if x.ndim == 3 else x
