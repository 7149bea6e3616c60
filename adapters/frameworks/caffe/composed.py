"""Recurrence that Caffe lacks, composed from its layers. Sequences are time first."""

from caffe import layers as L
from caffe import params as P


def name_of(name, label):
    """Return a layer's name that no net with another label has.

    Caffe shares parameters between nets by the names of layers, and within a net by names of
    parameters; with both, later steps would keep the earlier values of the first step.
    """
    return "{}_{}".format(name, label)


def loop(layer, bottom, net):
    names = _share(layer.name)
    for turn in range(layer.steps):
        product = L.InnerProduct(bottom, num_output=net.width(layer), param=names)
        net.spec["{}_{}".format(layer.name, turn)] = product
        bottom = L.TanH(product)
    return bottom


def gru(layer, bottom, net):
    """Compose h' = n + z (h - n). Steps continue behind an example's end; nothing reads them."""
    name, units = name_of(layer.name, net.label), layer.units
    inputs = L.InnerProduct(bottom, num_output=3 * units, axis=2)
    net.spec[name] = inputs
    state = L.DummyData(shape=dict(dim=[1, net.examples, units]))
    states = []
    for turn, step in enumerate(L.Slice(inputs, axis=0, ntop=net.steps)):
        hidden = L.InnerProduct(state, num_output=3 * units, axis=2, param=_share(name))
        net.spec["{}_{}".format(name, turn)] = hidden
        gates_in, new_in = _split(step, 2 * units)
        gates_hidden, new_hidden = _split(hidden, 2 * units)
        reset, update = _split(L.Sigmoid(L.Eltwise(gates_in, gates_hidden)), units)
        new = L.TanH(L.Eltwise(new_in, product(reset, new_hidden)))
        state = L.Eltwise(new, product(update, L.Eltwise(state, new, coeff=[1, -1])))
        states.append(state)
    return L.Concat(*states, axis=0)


def _share(name):
    return [dict(name=name + "_weight"), dict(name=name + "_bias")]


def _split(top, at):
    return L.Slice(top, axis=2, slice_point=[at], ntop=2)


def product(left, right):
    """Multiply two tops of one shape, value by value."""
    return L.Eltwise(left, right, operation=P.Eltwise.PROD)


def reshape(top, *shape):
    return L.Reshape(top, shape=dict(dim=list(shape)))
