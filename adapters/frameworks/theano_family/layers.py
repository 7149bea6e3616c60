"""Layers and losses as symbolic graphs: an entry of LAYERS or LOSSES for each kind.

Functions take the Call, the layer, its weights by role, and what the layer reads. All matrices but
tables of vectors are (in, out), as usual here; sequences have time first in a model with a
recurrent layer, else the batch.
"""

import math

from velodrome.adapters.frameworks.theano_family import images, sequences, steps
from velodrome.adapters.frameworks.theano_family.attention import attention
from velodrome.adapters.models import layers as kinds


def _linear(call, layer, weights, x):
    if x.ndim > 2:
        x = x.flatten(2)
    product = call.library.tensor.dot(x, weights["weight"])
    return product + weights["bias"] if layer.bias else product


def _gelu(call, layer, weights, x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1 + call.library.tensor.tanh(inner))


def _dropout(call, layer, weights, x):
    if call.statistics is not None:
        return x
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
    kinds.Gelu: _gelu,
    kinds.Silu: lambda call, layer, weights, x: x * call.library.sigmoid(x),
    kinds.Dropout: _dropout,
    kinds.Add: lambda call, layer, weights, x, y: x + y,
    kinds.Multiply: lambda call, layer, weights, x, y: x * y,
    kinds.MeanOverImage: lambda call, layer, weights, x: x.mean(axis=(2, 3)),
    kinds.Custom: _custom,
    kinds.Duplicate: _duplicate,
    kinds.Embedding: steps.embedding,
    kinds.Lstm: sequences.lstm,
    kinds.Gru: sequences.gru,
    kinds.Attention: attention,
    kinds.Loop: sequences.loop,
    kinds.MeanOverTime: steps.mean_over_time,
    kinds.StepLinear: steps.step_linear,
    kinds.TiedLinear: steps.tied_linear,
    kinds.LayerNorm: steps.layer_norm,
    kinds.RmsNorm: steps.rms_norm,
    kinds.LearnedPositions: steps.learned_positions,
    kinds.Patches: steps.patches,
    kinds.ClassToken: steps.class_token,
    kinds.FirstStep: steps.first_step,
}

# Layers without an operation in any of the family, and how they are composed.
COMPOSED = {
    kinds.Lrn: "of squares in shifted slices",
    kinds.Dropout: "as a product with a random mask",
    kinds.Lstm: "in a scan over all steps of a batch, padding too, its input's product before",
    kinds.Gru: "in a scan over all steps of a batch, padding too, its input's product before",
    kinds.Attention: "of products and a softmax",
    kinds.LayerNorm: "of means",
    kinds.RmsNorm: "of a mean",
    kinds.Gelu: "of a tanh",
    kinds.Silu: "as a product with a sigmoid",
}


def _cross_entropy(call, loss, output, values, labels):
    nnet = call.library.nnet
    return nnet.categorical_crossentropy(nnet.softmax(output), labels).mean()


def _step_cross_entropy(call, loss, output, values, labels):
    flat = output.reshape((output.shape[0] * output.shape[1], output.shape[2]))
    return _cross_entropy(call, loss, flat, values, labels.flatten())


def _squared_error(call, loss, output, values, labels):
    tensor = call.library.tensor
    if loss.target != "zero":
        target = call.library.root.gradient.disconnected_grad(values[loss.target])
        output = output - (target.flatten(2) if target.ndim > output.ndim else target)
    return tensor.sqr(output).sum() / tensor.cast(2 * output.shape[0], output.dtype)


LOSSES = {
    kinds.SoftmaxCrossEntropy: _cross_entropy,
    kinds.StepCrossEntropy: _step_cross_entropy,
    kinds.SquaredError: _squared_error,
    kinds.NoLoss: lambda call, loss, output, values, labels: output,
}
