"""Self-attention composed from Caffe's layers, which have no product of two tops' matrices."""

import numpy
from caffe import layers as L
from caffe import params as P

from velodrome.adapters.frameworks.caffe.composed import product, reshape
from velodrome.adapters.frameworks.rotary import compute_rotations

NEVER = -1e4  # whose exponential is 0


def attention(layer, bottom, net):
    """Compose it from (steps, steps, examples, heads, values): all pairs of steps, multiplied."""
    steps, examples, heads = net.count_steps(layer), net.examples, layer.heads
    width = net.width(layer)
    size = width // heads
    queries, keys, contents = _project(layer, bottom, net)
    asking = L.Tile(reshape(queries, steps, 1, examples, heads, size), axis=1, tiles=steps)
    keys, contents = (
        L.Tile(reshape(each, 1, steps, examples, heads, size), axis=0, tiles=steps)
        for each in (keys, contents)
    )
    scores = L.Reduction(product(asking, keys), operation=P.Reduction.SUM, axis=4, coeff=size**-0.5)
    shares = L.Softmax(_hide(layer, scores, net), axis=1)
    image = reshape(L.Scale(contents, shares, axis=0), steps, 1, steps, -1)
    mean = L.Pooling(image, pool=P.Pooling.AVE, kernel_h=steps, kernel_w=1)
    summed = reshape(L.Power(mean, scale=float(steps)), steps, examples, width)
    return L.InnerProduct(summed, num_output=width, axis=2, bias_term=layer.bias)


def _project(layer, bottom, net):
    """Return queries, keys and values, each (steps, examples, heads, values)."""
    heads, shared = layer.heads, layer.key_value_heads or layer.heads
    size = net.width(layer) // heads
    projected = L.InnerProduct(
        bottom, num_output=(heads + 2 * shared) * size, axis=2, bias_term=layer.bias
    )
    net.spec[layer.name + "_input"] = projected
    shape = (net.count_steps(layer), net.examples, heads + 2 * shared, size)
    turned, contents = L.Slice(
        reshape(projected, *shape), axis=2, slice_point=[heads + shared], ntop=2
    )
    if layer.rotary:
        turned = _rotate(layer, turned, net, shape[:2] + (heads + shared, size // 2))
    queries, keys = L.Slice(turned, axis=2, slice_point=[heads], ntop=2)
    if heads == shared:
        return queries, keys, contents
    keys, contents = (
        _repeat(each, shape[:2], shared, heads // shared, size) for each in (keys, contents)
    )
    return queries, keys, contents


def _repeat(top, before, shared, times, size):
    """Repeat each head so many times, one copy after another."""
    apart = reshape(top, *(before + (shared, 1, size)))
    return reshape(L.Tile(apart, axis=3, tiles=times), *(before + (shared * times, size)))


def _rotate(layer, top, net, shape):
    """Rotate queries and keys by the angles of their steps. shape: of half of the values."""
    tables = compute_rotations(layer.rotary, shape[0], shape[3])
    cosine, sine = (
        net.constant(
            "{}_{}".format(layer.name, curve), numpy.broadcast_to(table[:, None, None], shape)
        )
        for curve, table in zip(("cos", "sin"), tables)
    )
    first, second = L.Slice(top, axis=3, ntop=2)
    return L.Concat(
        L.Eltwise(product(first, cosine), product(second, sine), coeff=[1, -1]),
        L.Eltwise(product(second, cosine), product(first, sine)),
        axis=3,
    )


def _hide(layer, scores, net):
    """Lower the scores of the keys that a query does not see."""
    if "unseen" in net.spec.tops:
        scores = L.Bias(scores, net.spec.unseen, axis=1)
    if not layer.causal:
        return scores
    steps = numpy.arange(net.count_steps(layer))
    later = numpy.where(steps > steps[:, None], NEVER, 0.0)
    return L.Bias(scores, net.constant("later", later), axis=0)
