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
from velodrome.adapters.models import layers as kinds


def _forward(
    layer: kinds.Attention, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, ...]]:
    (x,) = inputs
    query, key, value = (
        _split(part, layer.heads) for part in numpy.split(x @ weights["weight_input"].T, 3, axis=2)
    )
    scores = query @ key.transpose(0, 1, 3, 2) / numpy.sqrt(query.shape[3])
    shares = _softmax(numpy.where(_true_keys(call, x), scores, -numpy.inf))
    mixed = _merge(shares @ value)
    return mixed @ weights["weight_output"].T, (x, query, key, value, shares, mixed)


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
    of_parts = (
        of_scores @ key,
        of_scores.transpose(0, 1, 3, 2) @ query,
        shares.transpose(0, 1, 3, 2) @ of_heads,
    )
    of_product = numpy.concatenate([_merge(part) for part in of_parts], axis=2)
    of_roles = {
        "weight_input": _flat(of_product).T @ _flat(x),
        "weight_output": _flat(gradient).T @ _flat(mixed),
    }
    return (of_product @ weights["weight_input"],), of_roles


def _split(x: Array, heads: int) -> Array:
    """Reshape (batch, time, n) to (batch, heads, time, n / heads)."""
    return x.reshape(x.shape[:2] + (heads, -1)).transpose(0, 2, 1, 3)


def _merge(x: Array) -> Array:
    """Invert _split."""
    batch, heads, time, size = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, time, heads * size)


def _true_keys(call: CallContext, x: Array) -> Array:
    """Return (batch, 1, 1, time): True for steps inside their sequence."""
    return (numpy.arange(x.shape[1]) < numpy.asarray(call.lengths)[:, None])[:, None, None]


def _softmax(scores: Array) -> Array:
    powers: Array = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def _flat(x: Array) -> Array:
    return x.reshape(-1, x.shape[2])


ATTENTION = Operation(_forward, _backward)
