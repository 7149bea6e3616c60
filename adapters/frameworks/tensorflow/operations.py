"""Layers and losses in TensorFlow: an entry of OPERATIONS or LOSSES for each kind.

Operations take the layer, its weights by role, the Call, and what the layer reads. Where TensorFlow
has more than one way, CHOICES names the fastest that is to be had for a variant on a device.
"""

from typing import Any, Dict, NamedTuple, Optional

import tensorflow as tf

from velodrome.adapters.frameworks.tensorflow import lstm, probe_layers, transformer_layers
from velodrome.adapters.frameworks.tensorflow.precision import add_bias
from velodrome.adapters.models import layers as kinds


class TensorflowContext(NamedTuple):
    """Data that a layer may need besides its input."""

    lengths: Any  # (batch,) int32, None where there are no sequences
    rates: Dict[str, Any]  # per dropout layer, a tf.Variable that is 0 while dropout is off
    copies: Dict[str, Any]  # per Duplicate, the tf.Variable that it copies into
    time_first: bool = False  # sequences are (time, batch, n), else (batch, time, n)
    tables: Dict[str, transformer_layers.AttentionTables] = {}  # per attention
    statistics: Optional[Dict[str, Any]] = None  # of batch normalization, in evaluation alone

    @property
    def is_training(self) -> bool:
        return self.statistics is None


def _conv(layer, weights, call, x):
    if layer.groups == x.shape[3] > 1:  # of a single channel, depthwise takes half as long again
        return _depthwise_conv(layer, weights, x)
    return _add_bias(layer, weights, _convolve(layer, x, weights["weight"]))


def _conv_by_group(layer, weights, call, x):
    """Convolve group by group: on the CPU TensorFlow has no gradient of a grouped one.

    XLA has one, which takes five times as long.
    """
    if layer.groups == x.shape[3] > 1:
        return _depthwise_conv(layer, weights, x)
    pairs = zip(tf.split(x, layer.groups, 3), tf.split(weights["weight"], layer.groups, 3))
    parts = [_convolve(layer, own, weight) for own, weight in pairs]
    return _add_bias(layer, weights, tf.concat(parts, 3) if len(parts) > 1 else parts[0])


def _depthwise_conv(layer, weights, x):
    """Use the operation for one group per channel, with weights (height, width, in, *)."""
    shape = [layer.kernel, layer.kernel, layer.groups, -1]
    weight = tf.reshape(weights["weight"], shape)
    stride = [1, layer.stride, layer.stride, 1]
    return _add_bias(layer, weights, tf.nn.depthwise_conv2d(x, weight, stride, _padding(layer)))


def _convolve(layer, x, weight):
    return tf.nn.conv2d(x, weight, layer.stride, _padding(layer))


def _padding(layer):
    """Pad by name if possible, which takes a faster path on the CPU."""
    if layer.padding == 0:
        return "VALID"
    if layer.stride == 1 and 2 * layer.padding == layer.kernel - 1:
        return "SAME"
    return _explicit_padding(layer)


def _explicit_padding(layer):
    edge = [layer.padding, layer.padding]
    return [[0, 0], edge, edge, [0, 0]]


def _max_pool(layer, weights, call, x):
    padding = _explicit_padding(layer) if layer.padding else "VALID"
    return tf.nn.max_pool2d(x, layer.size, layer.stride, padding)


def _max_pool_padded(layer, weights, call, x):
    """Pad with the lowest value: XLA has no pooling with explicit padding."""
    padded = (
        tf.pad(x, _explicit_padding(layer), constant_values=x.dtype.min) if layer.padding else x
    )
    return tf.nn.max_pool2d(padded, layer.size, layer.stride, "VALID")


def _linear(layer, weights, call, x):
    if x.shape.rank > 2:
        x = tf.reshape(x, [-1, weights["weight"].shape[0]])
    return _add_bias(layer, weights, tf.matmul(x, weights["weight"]))


def _add_bias(layer, weights, product):
    return add_bias(product, weights["bias"]) if layer.bias else product


def _lrn(layer, weights, call, x):
    return tf.nn.local_response_normalization(
        x, layer.size // 2, layer.k, layer.alpha / layer.size, layer.beta
    )


def _dropout(layer, weights, call, x):
    if not call.is_training:
        return x
    return tf.nn.dropout(x, tf.cast(call.rates[layer.name], x.dtype))


def _lstm(run, infer):
    """Return the operation. infer: runs in evaluation, and keeps nothing for a backward pass."""

    def operation(layer, weights, call, x):
        return (run if call.is_training else infer)(x, lengths=call.lengths, **weights)

    return operation


_LOOP_LSTM = _lstm(lstm.loop, lstm.infer_loop)
_CUDNN_LSTM = _lstm(lstm.cudnn, lstm.infer_cudnn)


def _copy_rows(layer, weights, call, x):
    """Copy into reused memory: in fresh memory the CPU would pay a page fault per 4 KiB.

    Variable.assign would only share the other tensor's memory. The variable itself is returned,
    since reading it is one more copy.
    """
    variable = call.copies[layer.name]
    variable.scatter_update(tf.IndexedSlices(x, tf.range(variable.shape[0])))
    return variable


def _copy_by_assignment(layer, weights, call, x):
    """Copy by assignment: XLA copies into the variable's own memory."""
    variable = call.copies[layer.name]
    variable.assign(x)
    return variable


def _copy_to_fresh(layer, weights, call, x):
    """Copy into fresh memory, which costs nothing on a GPU."""
    return tf.raw_ops.DeepCopy(x=x)


OPERATIONS = {
    kinds.Conv: _conv,
    kinds.DilatedConv: probe_layers.atrous_conv,
    kinds.TransposedConv: probe_layers.transposed_conv,
    kinds.Linear: _linear,
    kinds.MaxPool: _max_pool,
    kinds.AvgPool: lambda layer, weights, call, x: tf.nn.avg_pool2d(
        x, layer.size, layer.stride, "VALID"
    ),
    kinds.BatchNorm: probe_layers.batch_norm,
    kinds.Relu: lambda layer, weights, call, x: tf.nn.relu(x),
    kinds.Tanh: lambda layer, weights, call, x: tf.tanh(x),
    kinds.Sigmoid: lambda layer, weights, call, x: tf.sigmoid(x),
    kinds.Gelu: lambda layer, weights, call, x: tf.nn.gelu(x, approximate=True),
    kinds.Silu: lambda layer, weights, call, x: tf.nn.silu(x),
    kinds.Lrn: _lrn,
    kinds.Dropout: _dropout,
    kinds.Embedding: lambda layer, weights, call, x: tf.gather(weights["weight"], x),
    kinds.Lstm: _LOOP_LSTM,
    kinds.Gru: probe_layers.gru,
    kinds.Attention: transformer_layers.attention,
    kinds.Loop: probe_layers.loop,
    kinds.Add: lambda layer, weights, call, left, right: left + right,
    kinds.Multiply: lambda layer, weights, call, left, right: left * right,
    kinds.MeanOverImage: lambda layer, weights, call, x: tf.reduce_mean(x, [1, 2]),
    kinds.Custom: lambda layer, weights, call, x: probe_layers.signed_square(x),
    kinds.MeanOverTime: transformer_layers.mean_over_time,
    kinds.StepLinear: transformer_layers.step_linear,
    kinds.TiedLinear: transformer_layers.tied_linear,
    kinds.LayerNorm: transformer_layers.layer_norm,
    kinds.RmsNorm: transformer_layers.rms_norm,
    kinds.LearnedPositions: transformer_layers.learned_positions,
    kinds.Patches: transformer_layers.patches,
    kinds.ClassToken: transformer_layers.class_token,
    kinds.FirstStep: transformer_layers.first_step,
    kinds.Duplicate: _copy_rows,
}

CHOICES = {
    ("graph", "cpu"): {kinds.Conv: _conv_by_group},
    ("eager", "cpu"): {kinds.Conv: _conv_by_group, kinds.Lstm: _lstm(lstm.kernel, lstm.kernel)},
    ("xla", "cpu"): {
        kinds.Conv: _conv_by_group,
        kinds.MaxPool: _max_pool_padded,
        kinds.Duplicate: _copy_by_assignment,
    },
    ("graph", "gpu"): {kinds.Lstm: _CUDNN_LSTM, kinds.Duplicate: _copy_to_fresh},
    ("eager", "gpu"): {kinds.Lstm: _CUDNN_LSTM, kinds.Duplicate: _copy_to_fresh},
    ("xla", "gpu"): {kinds.MaxPool: _max_pool_padded, kinds.Duplicate: _copy_by_assignment},
}

# In bfloat16 and float16 on a CPU.
LOWER_ON_CPU = {kinds.Lstm: _LOOP_LSTM}


def _cross_entropy(loss, output, values, labels):
    """Compute the mean over the batch, or over all of its steps. Labels are int64."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, output))


def _squared_error(loss, output, values, labels):
    """Compute it by l2_loss, half the sum of squares, whose backward pass is one pass."""
    if loss.target != "zero":
        target = tf.cast(tf.stop_gradient(values[loss.target]), output.dtype)
        if target.shape.rank == 4 and output.shape.rank == 2:
            target = tf.transpose(target, [0, 3, 1, 2])
        output = output - tf.reshape(target, tf.shape(output))
    return tf.nn.l2_loss(output) / tf.cast(tf.shape(output)[0], output.dtype)


LOSSES = {
    kinds.SoftmaxCrossEntropy: _cross_entropy,
    kinds.StepCrossEntropy: _cross_entropy,
    kinds.SquaredError: _squared_error,
    kinds.NoLoss: lambda loss, output, values, labels: output,
}
