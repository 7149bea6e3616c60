"""Layers on each step of a sequence: (steps, examples, n)."""

import numpy
from caffe import layers as L
from caffe import params as P

from velodrome.adapters.frameworks.caffe.composed import name_of, reshape


def share(embedding):
    """Return the options of a layer that uses an embedding's weight, or is it."""
    return dict(param=[dict(name=embedding + "_weight")])


def linear(layer, bottom, net):
    return L.InnerProduct(bottom, num_output=layer.units, axis=2, bias_term=layer.bias)


def tied_linear(layer, bottom, net):
    return L.InnerProduct(
        bottom, num_output=net.width(layer), axis=2, bias_term=False, **share(layer.embedding)
    )


def layer_norm(layer, bottom, net):
    """Make batch normalization with each step of each example as a channel.

    Caffe's MVN layer adds epsilon to the deviation, not to the variance. The running averages have
    a length of the net's own, and so the layer has a name of its own.
    """
    steps, width = net.count_steps(layer), net.width(layer)
    normal = L.BatchNorm(
        reshape(bottom, 1, steps * net.examples, width),
        name=name_of(layer.name + "_normal", steps),
        eps=layer.epsilon,
        use_global_stats=False,
    )
    return L.Scale(reshape(normal, steps, net.examples, width), axis=2, bias_term=True)


def rms_norm(layer, bottom, net):
    mean = L.Reduction(bottom, operation=P.Reduction.SUMSQ, axis=2, coeff=1.0 / net.width(layer))
    inverse = L.Power(mean, power=-0.5, shift=layer.epsilon)
    return L.Scale(L.Scale(bottom, inverse, axis=0), axis=2)


def positions(layer, bottom, net):
    """Embed the number of each step, and add it."""
    steps = numpy.arange(net.count_steps(layer))[:, None]
    numbers = net.constant(
        layer.name + "_numbers", numpy.broadcast_to(steps, (len(steps), net.examples))
    )
    table = L.Embed(numbers, input_dim=layer.rows, num_output=net.width(layer), bias_term=False)
    net.spec[layer.name + "_table"] = table
    return L.Eltwise(bottom, table)


def patches(layer, bottom, net):
    """Slice an image into its positions: Caffe has no layer that swaps axes."""
    steps, width = net.shape(layer)
    flat = reshape(bottom, net.examples, width, steps)
    slices = L.Slice(flat, axis=2, ntop=steps)
    return reshape(L.Concat(*slices, axis=0), steps, net.examples, width)


def class_token(layer, bottom, net):
    step = L.Parameter(shape=dict(dim=[1, 1, net.width(layer)]))
    net.spec[layer.name + "_step"] = step
    return L.Concat(L.Tile(step, axis=1, tiles=net.examples), bottom, axis=0)


def first(layer, bottom, net):
    top, _ = L.Slice(bottom, axis=0, slice_point=[1], ntop=2)
    return reshape(top, net.examples, net.width(layer))
