"""Self-attention in CNTK, of products of each head.

x is (n,) with a sequence axis, of examples as long as they truly are, or (time, n) without one.
"""

import cntk
import numpy

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.rotary import compute_rotations

FAR = 1e9  # behind any score


def attend(layer, weight, x):
    """Compute each head by itself: CNTK has no product of several matrices per example."""
    projected = cntk.times(x, weight("weight_input"))
    if layer.bias:
        projected += weight("bias_input")
    width = x.shape[-1] // layer.heads
    shared = layer.key_value_heads or layer.heads
    parts = [_part(projected, at * width, width) for at in range(layer.heads + 2 * shared)]
    make_head = _sequence_head(layer) if len(x.dynamic_axes) > 1 else _step_head(layer, x.shape)
    heads = []
    for number in range(layer.heads):
        key = layer.heads + number * shared // layer.heads
        heads.append(make_head(parts[number], parts[key], parts[key + shared]))
    mixed = cntk.times(cntk.splice(*heads, axis=-1), weight("weight_output"))
    return mixed + weight("bias_output") if layer.bias else mixed


def _part(x, start, size):
    return cntk.slice(x, -1, start, start + size)


def _sequence_head(layer):
    if layer.causal or layer.rotary:
        text = "the cntk adapter attends over sequences of true lengths without order (Attention)"
        raise Unsupported(text)
    return _attend_in_sequence


def _attend_in_sequence(query, key, value):
    """Let each step read all unpacked steps of its sequence, with a mask."""
    width = query.shape[0]
    unpacked, there = cntk.sequence.unpack(key, padding_value=0).outputs
    keys = cntk.sequence.broadcast_as(unpacked, query)
    values = cntk.sequence.unpack(value, padding_value=0, no_mask_output=True)
    values = cntk.sequence.broadcast_as(values, query)
    masked = FAR * (cntk.expand_dims(cntk.sequence.broadcast_as(there, query), -1) - 1)
    scores = cntk.times(keys, cntk.reshape(query, (width, 1))) / width**0.5
    shares = cntk.softmax(scores + masked, axis=0)
    return cntk.reshape(cntk.times(cntk.swapaxes(shares, 0, 1), values), (width,))


def _step_head(layer, shape):
    """Return what makes a head (time, d) of query, key and value."""
    length, width = shape[0], shape[1] // layer.heads
    rotate = _make_rotation(layer.rotary, length, width) if layer.rotary else None
    mask = cntk.Constant(-FAR * numpy.triu(numpy.ones((length, length), numpy.float32), 1))

    def attend_in_order(query, key, value):
        if rotate:
            query, key = rotate(query), rotate(key)
        scores = cntk.times(query * width**-0.5, cntk.swapaxes(key, 0, 1))
        shares = cntk.softmax(scores + mask if layer.causal else scores, axis=1)
        return cntk.times(shares, value)

    return attend_in_order


def _make_rotation(base, length, width):
    half = width // 2
    cosine, sine = (
        cntk.Constant(numpy.ascontiguousarray(table, numpy.float32))
        for table in compute_rotations(base, length, half)
    )

    def rotate(x):
        first, second = _part(x, 0, half), _part(x, half, half)
        turned = (first * cosine - second * sine, second * cosine + first * sine)
        return cntk.splice(*turned, axis=-1)

    return rotate
