"""Kinds of layers that only probes have, in JAX's own operations.

Operations as in velodrome.adapters.frameworks.jax.operations. Sequences are (time, batch, n).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from velodrome.adapters.frameworks.jax.precision import multiply

LAYOUT = ("NHWC", "HWIO", "NHWC")


def dilated_conv(layer, weights, call, x):
    convolved = lax.conv_general_dilated(
        x.astype(call.dtype),
        weights["weight"].astype(call.dtype),
        window_strides=(1, 1),
        padding=[(layer.padding, layer.padding)] * 2,
        rhs_dilation=(layer.dilation, layer.dilation),
        dimension_numbers=LAYOUT,
    )
    return convolved + weights["bias"]


def transposed_conv(layer, weights, call, x):
    edge = layer.kernel - 1 - layer.padding
    spread = lax.conv_transpose(
        x.astype(call.dtype),
        weights["weight"].astype(call.dtype),
        strides=(layer.stride, layer.stride),
        padding=[(edge, edge)] * 2,
        dimension_numbers=LAYOUT,
        transpose_kernel=True,
    )
    return spread + weights["bias"]


def average_pool(layer, weights, call, x):
    window, strides = (1, layer.size, layer.size, 1), (1, layer.stride, layer.stride, 1)
    total = lax.reduce_window(x.astype(jnp.float32), 0.0, lax.add, window, strides, "VALID")
    return total / layer.size**2


def batch_norm(layer, weights, call, x):
    x, given = x.astype(jnp.float32), {}
    if not call.is_training:
        for role in ("mean", "variance"):
            given[role] = call.statistics["{}.{}".format(layer.name, role)]
    normalized = jax.nn.standardize(x, axis=(0, 1, 2), epsilon=layer.epsilon, **given)
    return normalized * weights["scale"] + weights["bias"]


def gru(layer, weights, call, x):
    """Compute a GRU like the LSTM: one product before the loop, padding included."""
    return _scan(x, call.dtype, **weights)


@partial(jax.jit, static_argnames="dtype")
def _scan(x, dtype, weight_input, weight_hidden, bias, bias_hidden):
    def step(hidden, own):
        own_r, own_z, own_n = jnp.split(own, 3, axis=1)
        back_r, back_z, back_n = jnp.split(
            multiply(hidden, weight_hidden, dtype) + bias_hidden, 3, axis=1
        )
        r, z = jax.nn.sigmoid(own_r + back_r), jax.nn.sigmoid(own_z + back_z)
        n = jnp.tanh(own_n + r * back_n)
        hidden = (1 - z) * n + z * hidden
        return hidden, hidden

    zeros = jnp.zeros((x.shape[1], weight_hidden.shape[0]), jnp.float32)
    return lax.scan(step, zeros, multiply(x, weight_input, dtype) + bias)[1]


def loop(layer, weights, call, x):
    def step(count, state):
        return jnp.tanh(multiply(state, weights["weight"], call.dtype) + weights["bias"])

    return lax.fori_loop(0, layer.steps, step, x.astype(jnp.float32))


@jax.custom_vjp
def signed_square(x):
    """Compute kinds.Custom, with a custom gradient of JAX."""
    return x * jnp.abs(x)


def _signed_square_kept(x):
    return signed_square(x), x


def _signed_square_backward(x, gradient):
    size = jnp.abs(x)
    return (gradient * 2 * size / (1 + size),)


signed_square.defvjp(_signed_square_kept, _signed_square_backward)
