"""Self-attention over sequences, composed of products and a softmax."""

from velodrome.adapters.frameworks.rotary import compute_rotations
from velodrome.adapters.frameworks.theano_family.steps import (
    batch_first,
    find_true_steps,
    multiply_steps,
)


def attention(call, layer, weights, x):
    """Build self-attention. Heads that share keys and values are the rows of one product."""
    library, x = call.library, batch_first(call, x)
    batch, time, size = x.shape[0], x.shape[1], call.input_shapes[layer.name][2] // layer.heads
    shared = layer.key_value_heads or layer.heads
    product = multiply_steps(call, x, weights["weight_input"], weights.get("bias_input"))
    query, key, value = _split(layer, product, size, shared)
    if layer.rotary:
        query, key = (_rotate(call, layer, own, size) for own in (query, key))
    query = query.reshape((batch * shared, layer.heads // shared * time, size))
    key, value = (own.reshape((batch * shared, time, size)) for own in (key, value))
    scores = library.batched_dot(query, key.dimshuffle(0, 2, 1)) / size**0.5
    allowed = _find_allowed_keys(call, layer, x)
    if allowed is not None:
        scores = scores.reshape((batch, layer.heads, time, time))
        scores = library.tensor.switch(allowed, scores, -1e30)
    shares = library.nnet.softmax(scores.reshape((batch * layer.heads * time, time)))
    shares = shares.reshape((batch * shared, layer.heads // shared * time, time))
    mixed = library.batched_dot(shares, value).reshape((batch, layer.heads, time, size))
    mixed = mixed.dimshuffle(0, 2, 1, 3).reshape((batch, time, layer.heads * size))
    y = multiply_steps(call, mixed, weights["weight_output"], weights.get("bias_output"))
    return batch_first(call, y)


def _split(layer, product, size, shared):
    """Yield query, key and value (batch, heads, time, size) of (batch, time, all of them)."""
    first = 0
    for heads in (layer.heads, shared, shared):
        part = product[:, :, first : first + heads * size]
        first += heads * size
        by_head = part.reshape((product.shape[0], product.shape[1], heads, size))
        yield by_head.dimshuffle(0, 2, 1, 3)


def _rotate(call, layer, x, size):
    """Rotate each pair of values by its step's angle, from a table of all steps."""
    tensor, half = call.library.tensor, size // 2
    longest = call.input_shapes[layer.name][1]
    cosine, sine = (
        tensor.constant(table.astype("float32"))[: x.shape[2]].dimshuffle("x", "x", 0, 1)
        for table in compute_rotations(layer.rotary, longest, half)
    )
    first, second = x[:, :, :, :half], x[:, :, :, half:]
    rotated = [first * cosine - second * sine, second * cosine + first * sine]
    return tensor.concatenate(rotated, axis=3)


def _find_allowed_keys(call, layer, x):
    """Return (batch or 1, 1, time or 1, time): True for keys that a query may read; None: all."""
    keys = None
    if call.lengths is not None:
        keys = find_true_steps(call, x).dimshuffle(0, "x", "x", 1)
    if not layer.causal:
        return keys
    steps = call.library.tensor.arange(x.shape[1])
    earlier = steps.dimshuffle("x", 0) <= steps.dimshuffle(0, "x")
    earlier = earlier.dimshuffle("x", "x", 0, 1)
    return earlier if keys is None else keys & earlier
