"""CNTK functions for each kind of layer (OPERATIONS) and loss (LOSSES).

Operations take the layer, a function that makes its weights by role, and what the layer reads, of
which CNTK leaves the batch (and the time of Sequences) out. Images are (channels, height, width).
"""

import cntk

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.cntk import steps
from velodrome.adapters.frameworks.cntk.attention import attend
from velodrome.adapters.frameworks.cntk.custom_op import SignedSquareFunction
from velodrome.adapters.models import layers as kinds

BATCH = cntk.Axis.default_batch_axis()
LOWEST = -1e30  # never the largest of a window


def _conv(layer, weight, x):
    if layer.padding and not _keeps_size(layer):
        edge = (layer.padding, layer.padding)
        x = cntk.pad(x, [(0, 0), edge, edge])
    convolved = cntk.convolution(
        weight("weight"),
        x,
        strides=(layer.stride, layer.stride),
        auto_padding=[False, _keeps_size(layer), _keeps_size(layer)],
        groups=layer.groups,
    )
    return convolved + weight("bias") if layer.bias else convolved


def _keeps_size(layer):
    """Return True if the padding is the one that CNTK adds by itself."""
    return layer.padding > 0 and layer.stride == 1 and 2 * layer.padding == layer.kernel - 1


def _dilated(layer, weight, x):
    raise Unsupported("CNTK has no dilated convolution on a CPU (DilatedConv)")


def _transposed(layer, weight, x):
    """Build a transposed convolution and cut the padding off its output."""
    y = cntk.convolution_transpose(
        weight("weight"),
        x,
        strides=(layer.stride, layer.stride),
        auto_padding=[False, False, False],
    )
    for axis in (1, 2) if layer.padding else ():
        y = cntk.slice(y, axis, layer.padding, -layer.padding)
    return y + weight("bias")


def _batch_norm(layer, weight, x, mean, variance, count):
    """Normalize by the batch's own statistics; those of earlier batches have no weight.

    mean, variance: what a call for inference normalizes by.
    """
    return cntk.batch_normalization(
        x,
        weight("scale"),
        weight("bias"),
        mean,
        variance,
        spatial=True,
        running_count=count,
        normalization_time_constant=0,
        epsilon=layer.epsilon,
        use_cudnn_engine=False,
    )


def _linear(layer, weight, x):
    product = cntk.times(x, weight("weight"))
    return product + weight("bias") if layer.bias else product


def _max_pool(layer, weight, x):
    window, strides = (layer.size, layer.size), (layer.stride, layer.stride)
    if layer.padding:
        edge = (layer.padding, layer.padding)
        x = cntk.pad(x, [(0, 0), edge, edge], constant_value=LOWEST)
    return cntk.pooling(x, cntk.MAX_POOLING, window, strides=strides, auto_padding=[False])


def _avg_pool(layer, weight, x):
    window, strides = (layer.size, layer.size), (layer.stride, layer.stride)
    return cntk.pooling(x, cntk.AVG_POOLING, window, strides=strides, auto_padding=[False])


def _mean_over_image(layer, weight, x):
    return cntk.reshape(cntk.pooling(x, cntk.AVG_POOLING, x.shape[1:]), (x.shape[0],))


def _lrn(layer, weight, x):
    """Make LRN; CNTK itself divides alpha by the window's size, which is undocumented."""
    return cntk.local_response_normalization(x, layer.size // 2, layer.k, layer.alpha, layer.beta)


def _lstm(layer, weight, x):
    """Loop over each sequence's true steps; the input's products are one product before it."""
    before = cntk.times(x, weight("weight_input")) + weight("bias")
    weight_hidden, shape = weight("weight_hidden"), (layer.units,)
    earlier_hidden, earlier_cell = cntk.placeholder(shape), cntk.placeholder(shape)
    gates = before + cntk.times(earlier_hidden, weight_hidden)
    i, f, g, o = [
        cntk.slice(gates, 0, number * layer.units, (number + 1) * layer.units)
        for number in range(4)
    ]
    cell = cntk.sigmoid(f) * earlier_cell + cntk.sigmoid(i) * cntk.tanh(g)
    hidden = cntk.sigmoid(o) * cntk.tanh(cell)
    return hidden.replace_placeholders(
        {
            earlier_hidden: cntk.sequence.past_value(hidden).output,
            earlier_cell: cntk.sequence.past_value(cell).output,
        }
    )


def _gru(layer, weight, x):
    """Build a GRU like _lstm: a loop over each sequence's own steps."""
    before = cntk.times(x, weight("weight_input")) + weight("bias")
    earlier = cntk.placeholder((layer.units,))
    returned = cntk.times(earlier, weight("weight_hidden")) + weight("bias_hidden")
    (r, z, n), (r_back, z_back, n_back) = [
        [cntk.slice(all_three, 0, k * layer.units, (k + 1) * layer.units) for k in range(3)]
        for all_three in (before, returned)
    ]
    update = cntk.sigmoid(z + z_back)
    fresh = cntk.tanh(n + cntk.sigmoid(r + r_back) * n_back)
    hidden = (1 - update) * fresh + update * earlier
    return hidden.replace_placeholders({earlier: cntk.sequence.past_value(hidden).output})


def _loop(layer, weight, x):
    """Unroll the loop: CNTK loops only over the steps of a sequence."""
    own, bias = weight("weight"), weight("bias")
    for _ in range(layer.steps):
        x = cntk.tanh(cntk.times(x, own) + bias)
    return x


OPERATIONS = {
    kinds.DilatedConv: _dilated,
    kinds.TransposedConv: _transposed,
    kinds.BatchNorm: _batch_norm,
    kinds.Attention: attend,
    kinds.Custom: lambda layer, weight, x: cntk.user_function(SignedSquareFunction(x)),
    kinds.AvgPool: _avg_pool,
    kinds.Gru: _gru,
    kinds.Loop: _loop,
    kinds.Add: lambda layer, weight, left, right: left + right,
    kinds.Multiply: lambda layer, weight, left, right: cntk.element_times(left, right),
    kinds.Conv: _conv,
    kinds.Linear: _linear,
    kinds.MaxPool: _max_pool,
    kinds.Relu: lambda layer, weight, x: cntk.relu(x),
    kinds.Tanh: lambda layer, weight, x: cntk.tanh(x),
    kinds.Sigmoid: lambda layer, weight, x: cntk.sigmoid(x),
    kinds.Gelu: steps.compute_gelu,
    kinds.Silu: lambda layer, weight, x: x * cntk.sigmoid(x),
    kinds.MeanOverImage: _mean_over_image,
    kinds.StepLinear: _linear,
    kinds.TiedLinear: steps.multiply_tied,
    kinds.LayerNorm: steps.normalize_layer,
    kinds.RmsNorm: steps.normalize_rms,
    kinds.LearnedPositions: steps.add_positions,
    kinds.Patches: steps.make_patches,
    kinds.ClassToken: steps.add_class_token,
    kinds.FirstStep: steps.take_first_step,
    kinds.Lrn: _lrn,
    kinds.Dropout: lambda layer, weight, x: cntk.dropout(x, layer.rate, name=layer.name),
    kinds.Embedding: steps.embed,
    kinds.Lstm: _lstm,
    kinds.MeanOverTime: steps.average_steps,
    kinds.Duplicate: lambda layer, weight, x: cntk.alias(x),
}


def _cross_entropy(loss, output, values):
    return cntk.reduce_mean(cntk.cross_entropy_with_softmax(output, values["labels"]), axis=BATCH)


def _step_cross_entropy(loss, output, values):
    """Subtract each step's score of its label; labels are numbers, (time,)."""
    own = cntk.one_hot(values["labels"], output.shape[-1])
    chosen = cntk.reduce_sum(cntk.element_times(output, own), axis=-1)
    losses = cntk.reduce_log_sum_exp(output, axis=-1) - chosen
    return cntk.reduce_mean(cntk.reduce_mean(losses), axis=BATCH)


def _squared_error(loss, output, values):
    if loss.target == "zero":
        errors = cntk.reduce_sum(cntk.square(output))
    else:
        target = cntk.reshape(cntk.stop_gradient(values[loss.target]), output.shape)
        errors = cntk.squared_error(output, target)
    return cntk.reduce_mean(errors, axis=BATCH) / 2


LOSSES = {
    kinds.SoftmaxCrossEntropy: _cross_entropy,
    kinds.StepCrossEntropy: _step_cross_entropy,
    kinds.SquaredError: _squared_error,
    kinds.NoLoss: lambda loss, output, values: output,
}
