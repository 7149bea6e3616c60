"""Kinds of layers that only probes have, in TensorFlow's own operations.

Operations as in velodrome.adapters.frameworks.tensorflow.operations. Sequences are (time, batch,
n).
"""

import tensorflow as tf

from velodrome.adapters.frameworks.tensorflow.precision import add_bias, multiply


def atrous_conv(layer, weights, call, x):
    """Convolve with atrous_conv2d: conv2d with dilations has no gradient on a CPU."""
    edge = [layer.padding, layer.padding]
    padded = tf.pad(x, [[0, 0], edge, edge, [0, 0]])
    convolved = tf.nn.atrous_conv2d(padded, weights["weight"], layer.dilation, "VALID")
    return add_bias(convolved, weights["bias"])


def transposed_conv(layer, weights, call, x):
    height, width = (
        (length - 1) * layer.stride + layer.kernel - 2 * layer.padding for length in x.shape[1:3]
    )
    shape = tf.stack([tf.shape(x)[0], height, width, layer.maps])
    edge = [layer.padding, layer.padding]
    padding = [[0, 0], edge, edge, [0, 0]]
    spread = tf.nn.conv2d_transpose(x, weights["weight"], shape, layer.stride, padding)
    return add_bias(spread, weights["bias"])


def batch_norm(layer, weights, call, x):
    given = {}
    if not call.is_training:
        for role in ("mean", "variance"):
            given[role] = call.statistics["{}.{}".format(layer.name, role)]
    return tf.compat.v1.nn.fused_batch_norm(
        x,
        weights["scale"],
        weights["bias"],
        epsilon=layer.epsilon,
        is_training=call.is_training,
        **given,
    )[0]


def gru(layer, weights, call, x):
    """Run tf.scan, with TensorFlow's own gradient. Runs through the padding, as the LSTM does."""
    hidden_weight, hidden_bias = (
        tf.convert_to_tensor(weights[role]) for role in ("weight_hidden", "bias_hidden")
    )
    units = layer.units

    def step(hidden, own):
        back = multiply(hidden, hidden_weight) + hidden_bias
        r, z = tf.split(tf.sigmoid(own[:, : 2 * units] + back[:, : 2 * units]), 2, 1)
        n = tf.tanh(own[:, 2 * units :] + r * back[:, 2 * units :])
        return (1 - z) * n + z * hidden

    product = tf.tensordot(x, weights["weight_input"], 1)
    from_input = tf.cast(product, tf.float32) + weights["bias"]
    return tf.scan(step, from_input, tf.zeros([x.shape[1], units]))


def loop(layer, weights, call, x):
    weight, bias = (tf.convert_to_tensor(weights[role]) for role in ("weight", "bias"))

    def step(count, state):
        return count + 1, tf.tanh(tf.nn.bias_add(multiply(state, weight), bias))

    state = (0, tf.cast(x, tf.float32))
    return tf.while_loop(
        lambda count, _: count < layer.steps, step, state, maximum_iterations=layer.steps
    )[1]


@tf.custom_gradient
def signed_square(x):
    """Compute kinds.Custom, with a custom gradient of TensorFlow."""
    size = tf.abs(x)

    def backward(gradient):
        return gradient * 2 * size / (1 + size)

    return x * size, backward
