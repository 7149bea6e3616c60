"""Self-attention over sequences: (batch, time, n), with the true length of each."""

from typing import FrozenSet, Tuple

import numpy

from velodrome.adapters.frameworks.numpy.operation import (
    Array,
    CallContext,
    Gradients,
    Operation,
    Weights,
)
from velodrome.adapters.frameworks.numpy.steps import flatten_steps
from velodrome.adapters.models import layers as kinds


def _forward(
    layer: kinds.Attention, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, ...]]:
    (x,) = inputs
    product = x @ weights["weight_input"].T
    if layer.bias:
        product += weights["bias_input"]
    query, key, value = _heads(layer, product)
    if layer.rotary:
        query, key = _rotate(layer, query, 1.0), _rotate(layer, key, 1.0)
    scores = query @ key.transpose(0, 1, 3, 2) / numpy.sqrt(query.shape[3])
    shares = _softmax(numpy.where(_allowed_keys(layer, call, x), scores, -numpy.inf))
    mixed = _merge(shares @ value)
    y = mixed @ weights["weight_output"].T
    if layer.bias:
        y += weights["bias_output"]
    return y, (x, query, key, value, shares, mixed)


def _backward(
    layer: kinds.Attention,
    weights: Weights,
    saved: Tuple[Array, ...],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    x, query, key, value, shares, mixed = saved
    of_heads = _split(gradient @ weights["weight_output"], layer.heads)
    of_shares = of_heads @ value.transpose(0, 1, 3, 2)
    of_scores = shares * (of_shares - (of_shares * shares).sum(axis=3, keepdims=True))
    of_scores /= numpy.sqrt(query.shape[3])
    of_query, of_key = of_scores @ key, of_scores.transpose(0, 1, 3, 2) @ query
    of_value = shares.transpose(0, 1, 3, 2) @ of_heads
    if layer.rotary:
        of_query, of_key = _rotate(layer, of_query, -1.0), _rotate(layer, of_key, -1.0)
    of_parts = (of_query, _sum_shared(layer, of_key), _sum_shared(layer, of_value))
    of_product = numpy.concatenate([_merge(part) for part in of_parts], axis=2)
    of_roles = {
        "weight_input": flatten_steps(of_product).T @ flatten_steps(x),
        "weight_output": flatten_steps(gradient).T @ flatten_steps(mixed),
    }
    if layer.bias:
        of_roles["bias_input"] = of_product.sum(axis=(0, 1))
        of_roles["bias_output"] = gradient.sum(axis=(0, 1))
    return (of_product @ weights["weight_input"],), of_roles


def _heads(layer: kinds.Attention, product: Array) -> Tuple[Array, Array, Array]:
    """Return query, key and value (batch, heads, time, d); shared heads are repeated."""
    shared = layer.key_value_heads or layer.heads
    size = product.shape[2] // (layer.heads + 2 * shared)
    ends = [layer.heads * size, (layer.heads + shared) * size]
    query, key, value = numpy.split(product, ends, axis=2)
    repeats = layer.heads // shared
    return (
        _split(query, layer.heads),
        numpy.repeat(_split(key, shared), repeats, axis=1),
        numpy.repeat(_split(value, shared), repeats, axis=1),
    )


def _sum_shared(layer: kinds.Attention, of_heads: Array) -> Array:
    """Add up the gradients of the heads that share one: the transpose of repeating it."""
    batch, heads, time, size = of_heads.shape
    shared = layer.key_value_heads or heads
    grouped: Array = of_heads.reshape(batch, shared, heads // shared, time, size)
    added: Array = grouped.sum(axis=2)
    return added


def _rotate(layer: kinds.Attention, x: Array, sign: float) -> Array:
    """Rotate each pair by its step's angle; sign -1 turns it back, which is the transpose."""
    half = x.shape[3] // 2
    rates = layer.rotary ** (-numpy.arange(half) / float(half))
    angles = numpy.arange(x.shape[2])[:, None] * rates
    cosine, sine = numpy.cos(angles), sign * numpy.sin(angles)
    first, second = x[..., :half], x[..., half:]
    return numpy.concatenate(
        (first * cosine - second * sine, second * cosine + first * sine), axis=3
    )


def _split(x: Array, heads: int) -> Array:
    """Reshape (batch, time, n) to (batch, heads, time, n / heads)."""
    return x.reshape(x.shape[:2] + (heads, -1)).transpose(0, 2, 1, 3)


def _merge(x: Array) -> Array:
    """Invert _split."""
    batch, heads, time, size = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, time, heads * size)


def _allowed_keys(layer: kinds.Attention, call: CallContext, x: Array) -> Array:
    """Return (batch or 1, 1, time or 1, time): True for keys that a query may read."""
    steps = numpy.arange(x.shape[1])
    allowed = numpy.ones((1, 1, 1, x.shape[1]), bool)
    if call.lengths is not None:
        allowed = (steps < numpy.asarray(call.lengths)[:, None])[:, None, None]
    return allowed & (steps <= steps[:, None]) if layer.causal else allowed


def _softmax(scores: Array) -> Array:
    powers: Array = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


ATTENTION = Operation(_forward, _backward)
