"""Layers and losses as symbolic graphs: an entry of LAYERS or LOSSES for each kind.

Functions take the Call, the layer, its weights by role, and what the layer reads. All matrices but
an embedding's are (in, out), as usual here; sequences have time first.
"""

from velodrome.adapters.frameworks.theano_family import images, sequences
from velodrome.adapters.models import layers as kinds


def _linear(call, layer, weights, x):
    if x.ndim > 2:
        x = x.flatten(2)
    product = call.library.tensor.dot(x, weights["weight"])
    return product + weights["bias"] if layer.bias else product


def _dropout(call, layer, weights, x):
    rate = call.rates[layer.name]
    kept = call.library.uniform(x.shape) >= rate
    return x * call.library.tensor.cast(kept, x.dtype) / (1 - rate)


def _custom(call, layer, weights, x):
    """Define kinds.Custom with OpFromGraph, which takes a custom gradient without C code."""
    given = x.type()

    def backward(inputs, gradients):
        size = abs(inputs[0])
        return [gradients[0] * 2 * size / (1 + size)]

    operation = call.library.root.compile.builders.OpFromGraph(
        [given], [given * abs(given)], inline=True, grad_overrides=backward
    )
    return operation(x)


def _duplicate(call, layer, weights, x):
    """Copy into memory that is reused by every call."""
    return call.library.root.compile.DeepCopyOp()(x)


LAYERS = {
    kinds.Conv: images.conv,
    kinds.DilatedConv: images.dilated_conv,
    kinds.TransposedConv: images.transposed_conv,
    kinds.MaxPool: images.pool("max"),
    kinds.AvgPool: images.pool("average_exc_pad"),
    kinds.BatchNorm: images.batch_norm,
    kinds.Lrn: images.lrn,
    kinds.Linear: _linear,
    kinds.Relu: lambda call, layer, weights, x: call.library.nnet.relu(x),
    kinds.Sigmoid: lambda call, layer, weights, x: call.library.sigmoid(x),
    kinds.Tanh: lambda call, layer, weights, x: call.library.tensor.tanh(x),
    kinds.Dropout: _dropout,
    kinds.Add: lambda call, layer, weights, x, y: x + y,
    kinds.Custom: _custom,
    kinds.Duplicate: _duplicate,
    kinds.Embedding: lambda call, layer, weights, x: weights["weight"][x],
    kinds.Lstm: sequences.lstm,
    kinds.Gru: sequences.gru,
    kinds.Attention: sequences.attention,
    kinds.Loop: sequences.loop,
    kinds.MeanOverTime: sequences.mean_over_time,
}

# Layers without an operation in any of the family, and how they are composed.
COMPOSED = {
    kinds.Lrn: "of squares in shifted slices",
    kinds.Dropout: "as a product with a random mask",
    kinds.Lstm: "in a scan over all steps of a batch, padding too, its input's product before",
    kinds.Gru: "in a scan over all steps of a batch, padding too, its input's product before",
    kinds.Attention: "of products and a softmax",
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
