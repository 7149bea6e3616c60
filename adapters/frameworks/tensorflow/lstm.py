"""An LSTM of one layer from a zero state, in three ways: a loop, the CPU's kernel, cuDNN's.

Each takes x (time, batch, in), weight_input (in, 4 units), weight_hidden (units, 4 units), bias
(4 units,) and lengths (batch,) int32, and gives h (time, batch, units). Gates are i, f, g, o. All
but cuDNN's run on through the padding: it stands behind an example's true steps and so changes none
of them, and as the mean leaves it out, no gradient comes from it. In a lower precision the loop's
products are in it, its gates and states in float32.
In evaluation, infer_loop and infer_cudnn keep nothing for a backward pass.
"""

from functools import partial

import tensorflow as tf

from velodrome.adapters.frameworks.tensorflow.precision import multiply


def loop(x, weight_input, weight_hidden, bias, lengths):
    """Run a tf.while_loop forward, and another one backward.

    TensorFlow's own gradient of a loop adds up the weights' gradients step by step. Here they are
    one product behind the loop, which takes about half the time. The loop ends with the longest.
    """
    steps = tf.reduce_max(lengths)

    @tf.custom_gradient
    def run(x, weight_input, weight_hidden, bias):
        flat = tf.reshape(x, [-1, x.shape[2]])
        before = _project(x, weight_input, bias)
        gates, cells, hiddens = _forward(before, weight_hidden, steps)

        def backward(gradient):
            of_gates = _backward(gradient, gates, cells, weight_hidden, steps)
            of_gates = tf.reshape(of_gates, [-1, bias.shape[0]])
            of_bias = tf.reduce_sum(of_gates, 0)
            of_gates = tf.cast(of_gates, x.dtype)
            earlier = tf.cast(tf.reshape(_delay(hiddens), [-1, hiddens.shape[2]]), x.dtype)
            of_x = tf.matmul(of_gates, weight_input, transpose_b=True)
            return (
                tf.reshape(of_x, tf.shape(x)),
                tf.matmul(flat, of_gates, transpose_a=True),
                tf.matmul(earlier, of_gates, transpose_a=True),
                of_bias,
            )

        return hiddens, backward

    return run(x, *[tf.convert_to_tensor(weight) for weight in (weight_input, weight_hidden, bias)])


def infer_loop(x, weight_input, weight_hidden, bias, lengths):
    """Run the loop of `loop` forward, and keep no more than the hidden states."""
    before, weight_hidden = _project(x, weight_input, bias), tf.convert_to_tensor(weight_hidden)
    time, batch, units = tf.shape(before)[0], before.shape[1], weight_hidden.shape[0]
    inputs, steps = _array(time, batch, 4 * units).unstack(before), tf.reduce_max(lengths)
    zeros = tf.zeros([batch, units])

    def step(now, cell, hidden, hiddens):
        _, cell, hidden = _advance(inputs.read(now), cell, hidden, weight_hidden)
        return now + 1, cell, hidden, hiddens.write(now, hidden)

    state = (0, zeros, zeros, _array(time, batch, units))
    ended = tf.while_loop(lambda now, *_: now < steps, step, state, maximum_iterations=time)
    return ended[3].stack()


def _project(x, weight_input, bias):
    """Return (time, batch, 4 units): what the inputs of all steps add to the gates."""
    product = multiply(tf.reshape(x, [-1, x.shape[2]]), weight_input)
    return tf.reshape(tf.nn.bias_add(product, bias), tf.concat([tf.shape(x)[:2], [-1]], 0))


def _advance(before, cell, hidden, weight_hidden):
    """Take one step: return the activated gates, and the new cell and hidden state."""
    i, f, g, o = tf.split(before + multiply(hidden, weight_hidden), 4, 1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    cell = f * cell + i * g
    return (i, f, g, o), cell, o * tf.tanh(cell)


def _forward(before, weight_hidden, steps):
    """Return activated gates (time, batch, 4 units), cells and hiddens (time, batch, units)."""
    time, batch, units = tf.shape(before)[0], before.shape[1], weight_hidden.shape[0]
    inputs = _array(time, batch, 4 * units).unstack(before)
    zeros = tf.zeros([batch, units])

    def step(now, cell, hidden, gates, cells, hiddens):
        own, cell, hidden = _advance(inputs.read(now), cell, hidden, weight_hidden)
        written = gates.write(now, tf.concat(own, 1))
        return now + 1, cell, hidden, written, cells.write(now, cell), hiddens.write(now, hidden)

    state = (0, zeros, zeros, *[_array(time, batch, width) for width in (4 * units, units, units)])
    ended = tf.while_loop(lambda now, *_: now < steps, step, state, maximum_iterations=time)
    return tuple(array.stack() for array in ended[3:])


def _backward(gradient, gates, cells, weight_hidden, steps):
    """Return (time, batch, 4 units): the gradient of each gate's input, from the last step on."""
    time, batch, units = tf.shape(gradient)[0], gates.shape[1], cells.shape[2]
    gates, cells, earlier, gradient = (
        _array(time, batch, array.shape[2]).unstack(array)
        for array in (gates, cells, _delay(cells), gradient)
    )
    returned = tf.transpose(weight_hidden)
    zeros = tf.zeros([batch, units])

    def step(now, of_cell, of_hidden, of_gates):
        i, f, g, o = tf.split(gates.read(now), 4, 1)
        squashed = tf.tanh(cells.read(now))
        of_hidden += gradient.read(now)
        of_cell += of_hidden * o * (1 - squashed * squashed)
        own = tf.concat(
            [
                of_cell * g * i * (1 - i),
                of_cell * earlier.read(now) * f * (1 - f),
                of_cell * i * (1 - g * g),
                of_hidden * squashed * o * (1 - o),
            ],
            1,
        )
        return now - 1, of_cell * f, multiply(own, returned), of_gates.write(now, own)

    state = (steps - 1, zeros, zeros, _array(time, batch, 4 * units))
    ended = tf.while_loop(lambda now, *_: now >= 0, step, state, maximum_iterations=time)
    return ended[3].stack()


def _array(time, batch, width):
    return tf.TensorArray(tf.float32, time, element_shape=[batch, width])


def _delay(values):
    """Shift by one step, with zeros first."""
    return tf.concat([tf.zeros_like(values[:1]), values[:-1]], 0)


def kernel(x, weight_input, weight_hidden, bias, lengths):
    """Run one operation of TensorFlow for all steps forward, and one for all steps backward.

    BlockLSTMV2 has our gates, but TensorFlow gives it the gradient of BlockLSTM, whose gates are in
    another order (tensorflow/python/ops/rnn_grad.py): so this calls the right one.
    """

    @tf.custom_gradient
    def run(x, weight, bias):
        zeros, none = (
            tf.zeros([x.shape[1], weight_hidden.shape[0]]),
            tf.zeros(weight_hidden.shape[:1]),
        )
        given = {
            "seq_len_max": tf.shape(x, tf.int64)[0],
            "x": x,
            "cs_prev": zeros,
            "h_prev": zeros,
            "w": weight,
            "wci": none,
            "wcf": none,
            "wco": none,
            "b": bias,
        }
        outputs = tf.raw_ops.BlockLSTMV2(use_peephole=False, **given)._asdict()

        def backward(gradient):
            found = tf.raw_ops.BlockLSTMGradV2(
                use_peephole=False,
                cs_grad=tf.zeros_like(gradient),
                h_grad=gradient,
                **given,
                **outputs,
            )
            return found.x_grad, found.w_grad, found.b_grad

        return outputs["h"], backward

    return run(x, tf.concat([weight_input, weight_hidden], 0), tf.convert_to_tensor(bias))


def cudnn(x, weight_input, weight_hidden, bias, lengths, *, is_training=True):
    """Run cuDNN's, which stops at each example's length. Gates are i, f, g, o, with two biases."""
    zeros = tf.zeros([1, x.shape[1], weight_hidden.shape[0]], x.dtype)
    bias = tf.cast(bias, x.dtype)
    parts = (tf.transpose(weight_input), tf.transpose(weight_hidden), bias, tf.zeros_like(bias))
    return tf.raw_ops.CudnnRNNV3(
        input=x,
        input_h=zeros,
        input_c=zeros,
        params=tf.concat([tf.reshape(part, [-1]) for part in parts], 0),
        sequence_lengths=lengths,
        rnn_mode="lstm",
        is_training=is_training,
        time_major=True,
    ).output


infer_cudnn = partial(cudnn, is_training=False)
