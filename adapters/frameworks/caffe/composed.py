"""Operations that Caffe lacks, composed from its layers. Sequences are time first."""

from caffe import layers as L
from caffe import params as P


def name_of(name, steps):
    """Return a layer's name that no net of another length has.

    Caffe shares parameters between nets by the names of layers, and within a net by names of
    parameters; with both, later steps would keep the earlier values of the first step.
    """
    return "{}_{}".format(name, steps)


def loop(layer, bottom, net):
    names = _share(layer.name)
    for turn in range(layer.steps):
        product = L.InnerProduct(bottom, num_output=net.width(layer), param=names)
        net.spec["{}_{}".format(layer.name, turn)] = product
        bottom = L.TanH(product)
    return bottom


def gru(layer, bottom, net):
    """Compose h' = n + z (h - n). Steps continue behind an example's end; nothing reads them."""
    name, units = name_of(layer.name, net.steps), layer.units
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
        new = L.TanH(L.Eltwise(new_in, _product(reset, new_hidden)))
        state = L.Eltwise(new, _product(update, L.Eltwise(state, new, coeff=[1, -1])))
        states.append(state)
    return L.Concat(*states, axis=0)


def attention(layer, bottom, net):
    """Compose it from (steps, steps, examples, heads, values): all pairs of steps, multiplied."""
    steps, examples, heads = net.steps, net.examples, layer.heads
    values = net.width(layer)
    projected = L.InnerProduct(bottom, num_output=3 * values, axis=2, bias_term=False)
    net.spec[layer.name + "_input"] = projected
    shape = [examples, heads, values // heads]
    queries, keys, contents = L.Slice(projected, axis=2, ntop=3)
    asking = L.Tile(_reshape(queries, steps, 1, *shape), axis=1, tiles=steps)
    keys, contents = (
        L.Tile(_reshape(each, 1, steps, *shape), axis=0, tiles=steps) for each in (keys, contents)
    )
    scale = (values // heads) ** -0.5
    scores = L.Reduction(_product(asking, keys), operation=P.Reduction.SUM, axis=4, coeff=scale)
    shares = L.Softmax(L.Bias(scores, net.spec.unseen, axis=1), axis=1)
    image = _reshape(L.Scale(contents, shares, axis=0), steps, 1, steps, -1)
    mean = L.Pooling(image, pool=P.Pooling.AVE, kernel_h=steps, kernel_w=1)
    summed = _reshape(L.Power(mean, scale=float(steps)), steps, examples, values)
    return L.InnerProduct(summed, num_output=values, axis=2, bias_term=False)


def _share(name):
    return [dict(name=name + "_weight"), dict(name=name + "_bias")]


def _split(top, at):
    return L.Slice(top, axis=2, slice_point=[at], ntop=2)


def _product(left, right):
    return L.Eltwise(left, right, operation=P.Eltwise.PROD)


def _reshape(top, *shape):
    return L.Reshape(top, shape=dict(dim=list(shape)))
