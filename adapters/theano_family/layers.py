"""What each kind of layer and each loss is as a graph: an entry of LAYERS or LOSSES for each.

Functions take the Call, the layer, its weights by role, and what the layer reads. Linear weights
are (in, out), as usual here; sequences have time first.
"""

from typing import Any, Callable, Dict, NamedTuple

from velodrome.adapters.models import layers as kinds


class Library(NamedTuple):
    """One framework of the family, and where it keeps what the others keep elsewhere."""

    root: Any  # theano itself: function, scan, grad, shared ...
    tensor: Any
    nnet: Any
    pool_2d: Callable
    uniform: Callable  # (shape) -> random float32 in 0..1, new for each call


class Call(NamedTuple):
    """What a layer may need to know besides what it reads."""

    library: Library
    lengths: Any  # (batch,) int32, None where there are no sequences
    rates: Dict[str, Any]  # per dropout layer, a shared scalar that is 0 while dropout is off


def _conv(call, layer, weights, x):
    y = call.library.nnet.conv2d(
        x,
        weights["weight"],
        filter_shape=weights["weight"].get_value(borrow=True).shape,
        border_mode=(layer.padding, layer.padding),
        subsample=(layer.stride, layer.stride),
        filter_flip=False,
        num_groups=layer.groups,
    )
    return y + weights["bias"].dimshuffle("x", 0, "x", "x")


def _linear(call, layer, weights, x):
    if x.ndim > 2:
        x = x.flatten(2)
    product = call.library.tensor.dot(x, weights["weight"])
    return product + weights["bias"] if layer.bias else product


def _max_pool(call, layer, weights, x):
    size, stride = (layer.size, layer.size), (layer.stride, layer.stride)
    return call.library.pool_2d(x, ws=size, stride=stride, ignore_border=True, mode="max")


def _lrn(call, layer, weights, x):
    tensor = call.library.tensor
    half = layer.size // 2
    batch, channels, height, width = x.shape
    padded = tensor.zeros((batch, channels + 2 * half, height, width))
    padded = tensor.set_subtensor(padded[:, half : half + channels], tensor.sqr(x))
    total = sum(padded[:, first : first + channels] for first in range(layer.size))
    return x / (layer.k + layer.alpha / layer.size * total) ** layer.beta


def _dropout(call, layer, weights, x):
    rate = call.rates[layer.name]
    kept = call.library.uniform(x.shape) >= rate
    return x * call.library.tensor.cast(kept, x.dtype) / (1 - rate)


def _lstm(call, layer, weights, x):
    """x (time, batch, in) to h (time, batch, units). Gates are i, f, g, o.

    Runs through the padding, which stands behind an example's true steps and so changes none of
    them; MeanOverTime leaves it out, and no gradient comes from it.
    """
    tensor, units = call.library.tensor, layer.units
    time, batch, width = x.shape[0], x.shape[1], x.shape[2]
    before = tensor.dot(x.reshape((time * batch, width)), weights["weight_input"])
    before = (before + weights["bias"]).reshape((time, batch, 4 * units))

    def step(inputs, hidden, cell, weight_hidden):
        gates = inputs + tensor.dot(hidden, weight_hidden)
        i, f, g, o = (gates[:, part * units : (part + 1) * units] for part in range(4))
        sigmoid = call.library.nnet.sigmoid
        cell = sigmoid(f) * cell + sigmoid(i) * tensor.tanh(g)
        return sigmoid(o) * tensor.tanh(cell), cell

    zeros = tensor.zeros((batch, units))
    (hiddens, _), _ = call.library.root.scan(
        step,
        sequences=before,
        outputs_info=[zeros, zeros],
        non_sequences=weights["weight_hidden"],
        strict=True,
    )
    return hiddens


def _mean_over_time(call, layer, weights, x):
    tensor = call.library.tensor
    within = tensor.arange(x.shape[0]).dimshuffle(0, "x") < call.lengths
    total = (x * tensor.cast(within, x.dtype).dimshuffle(0, 1, "x")).sum(0)
    return total / tensor.cast(call.lengths, x.dtype).dimshuffle(0, "x")


def _unary(name):
    return lambda call, layer, weights, x: getattr(call.library.nnet, name)(x)


LAYERS = {
    kinds.Conv: _conv,
    kinds.Linear: _linear,
    kinds.MaxPool: _max_pool,
    kinds.Relu: _unary("relu"),
    kinds.Sigmoid: _unary("sigmoid"),
    kinds.Tanh: lambda call, layer, weights, x: call.library.tensor.tanh(x),
    kinds.Lrn: _lrn,
    kinds.Dropout: _dropout,
    kinds.Embedding: lambda call, layer, weights, x: weights["weight"][x],
    kinds.Lstm: _lstm,
    kinds.MeanOverTime: _mean_over_time,
    # Into memory that is kept from call to call.
    kinds.Duplicate: lambda call, layer, weights, x: call.library.root.compile.DeepCopyOp()(x),
}


def _cross_entropy(call, loss, output, values, labels):
    nnet = call.library.nnet
    return nnet.categorical_crossentropy(nnet.softmax(output), labels).mean()


def _squared_error(call, loss, output, values, labels):
    tensor = call.library.tensor
    if loss.target != "zero":
        target = call.library.root.gradient.disconnected_grad(values[loss.target])
        output = output - (target.flatten(2) if target.ndim > 2 else target)
    return tensor.sqr(output).sum() / tensor.cast(2 * output.shape[0], output.dtype)


LOSSES = {
    kinds.SoftmaxCrossEntropy: _cross_entropy,
    kinds.SquaredError: _squared_error,
    kinds.NoLoss: lambda call, loss, output, values, labels: output,
}
