"""Models by hand in TensorFlow, each one tf.function: LeNet, an auto-encoder, an LSTM, larger ones.

python tensorflow_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import drawing
import tensorflow as tf
import tensorflow_large
from loop import Calls, main
from tensorflow_large import cross_entropy

UNITS = 128


def weight(*shape):
    return tf.Variable(drawing.weight(*shape))


def bias(units):
    return tf.Variable(drawing.bias(units))


class LeNet:
    def __init__(self, batch_size):
        self.variables = [
            weight(5, 5, 1, 20),
            bias(20),
            weight(5, 5, 20, 50),
            bias(50),
            weight(800, 500),
            bias(500),
            weight(500, 10),
            bias(10),
        ]
        images, labels = drawing.digits(batch_size)
        self.batches = [(tf.constant(images.transpose(0, 2, 3, 1)), tf.constant(labels))]
        self.signature = [tf.TensorSpec.from_tensor(value) for value in self.batches[0]]

    def loss(self, images, labels):
        w1, b1, w2, b2, w3, b3, w4, b4 = self.variables
        x = tf.nn.bias_add(tf.nn.conv2d(images, w1, 1, "VALID"), b1)
        x = tf.tanh(tf.nn.max_pool2d(x, 2, 2, "VALID"))
        x = tf.nn.bias_add(tf.nn.conv2d(x, w2, 1, "VALID"), b2)
        x = tf.tanh(tf.nn.max_pool2d(x, 2, 2, "VALID"))
        x = tf.reshape(x, [-1, 800])
        x = tf.nn.relu(tf.nn.bias_add(x @ w3, b3))
        return cross_entropy(labels, tf.nn.bias_add(x @ w4, b4))


class AutoEncoder:
    def __init__(self, batch_size):
        sizes = (784, 400, 200, 100, 10)
        self.layers = [(weight(*pair), bias(pair[1])) for pair in zip(sizes, sizes[1:])]
        self.variables = [value for layer in self.layers for value in layer]
        self.batches = [tuple(map(tf.constant, drawing.pixels(batch_size)))]
        self.signature = [tf.TensorSpec.from_tensor(value) for value in self.batches[0]]

    def loss(self, x, labels):
        for w, b in self.layers[:-1]:
            x = tf.sigmoid(tf.nn.bias_add(x @ w, b))
        w, b = self.layers[-1]
        return cross_entropy(labels, tf.nn.bias_add(x @ w, b))


class Sentiment:
    """Tokens are (time, batch), 0 behind a sentence. The LSTM's gates are i, f, g, o."""

    def __init__(self, batch_size):
        self.variables = [
            weight(10000, UNITS),
            weight(UNITS, 4 * UNITS),
            weight(UNITS, 4 * UNITS),
            bias(4 * UNITS),
            weight(UNITS, 2),
            bias(2),
        ]
        self.batches = [tuple(map(tf.constant, own)) for own in drawing.sentences(batch_size)]
        self.signature = [
            tf.TensorSpec([None, batch_size], tf.int32),
            tf.TensorSpec([batch_size], tf.int32),
            tf.TensorSpec([batch_size], tf.int32),
        ]

    def loss(self, tokens, lengths, labels):
        embedding, of_input, of_hidden, gate_bias, classifier, class_bias = self.variables
        h = lstm(tf.gather(embedding, tokens), *map(tf.identity, (of_input, of_hidden, gate_bias)))
        within = tf.transpose(tf.sequence_mask(lengths, tf.shape(h)[0], tf.float32))
        mean = tf.reduce_sum(h * within[:, :, None], 0) / tf.cast(lengths, tf.float32)[:, None]
        return cross_entropy(labels, tf.nn.bias_add(mean @ classifier, class_bias))


@tf.custom_gradient
def lstm(x, w, u, b):
    """x (time, batch, in) to h (time, batch, UNITS).

    A loop each way; the gradients of the weights are one product behind it, where TensorFlow's own
    would add them up step by step.
    """
    length, batch = tf.shape(x)[0], x.shape[1]
    rows = tf.reshape(x, [-1, x.shape[2]])
    zero = tf.zeros([batch, UNITS])

    def array(width):
        return tf.TensorArray(tf.float32, length, element_shape=[batch, width])

    def filled(values):
        return array(values.shape[2]).unstack(values)

    fed = filled(tf.reshape(tf.nn.bias_add(rows @ w, b), [length, batch, 4 * UNITS]))

    def ahead(t, c, h, gates, cells, states):
        i, f, g, o = tf.split(fed.read(t) + h @ u, 4, 1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        c = f * c + i * g
        h = o * tf.tanh(c)
        gates = gates.write(t, tf.concat([i, f, g, o], 1))
        return t + 1, c, h, gates, cells.write(t, c), states.write(t, h)

    start = (0, zero, zero, array(4 * UNITS), array(UNITS), array(UNITS))
    done = tf.while_loop(lambda t, *_: t < length, ahead, start, maximum_iterations=length)
    gates, cells, states = (values.stack() for values in done[3:])

    def gradient(of_states):
        gate, cell, of_state = filled(gates), filled(cells), filled(of_states)
        cell_before = filled(tf.concat([zero[None], cells[:-1]], 0))
        back_by = tf.transpose(u)

        def back(t, dc, dh, found):
            i, f, g, o = tf.split(gate.read(t), 4, 1)
            squashed = tf.tanh(cell.read(t))
            dh = dh + of_state.read(t)
            dc = dc + dh * o * (1 - squashed * squashed)
            di = dc * g * i * (1 - i)
            df = dc * cell_before.read(t) * f * (1 - f)
            dg = dc * i * (1 - g * g)
            do = dh * squashed * o * (1 - o)
            d = tf.concat([di, df, dg, do], 1)
            return t - 1, dc * f, d @ back_by, found.write(t, d)

        start = (length - 1, zero, zero, array(4 * UNITS))
        done = tf.while_loop(lambda t, *_: t >= 0, back, start, maximum_iterations=length)
        d = tf.reshape(done[3].stack(), [-1, 4 * UNITS])
        before = tf.reshape(tf.concat([zero[None], states[:-1]], 0), [-1, UNITS])
        return (
            tf.reshape(tf.matmul(d, w, transpose_b=True), tf.shape(x)),
            tf.matmul(rows, d, transpose_a=True),
            tf.matmul(before, d, transpose_a=True),
            tf.reduce_sum(d, 0),
        )

    return states, gradient


def compiled(model):
    """(forward, gradient) as graphs; an embedding's gradient is made dense."""

    def gradient(*batch):
        with tf.GradientTape() as tape:
            loss = model.loss(*batch)
        found = tape.gradient(loss, model.variables)
        return loss, [tf.convert_to_tensor(own) for own in found]

    return (
        tf.function(model.loss, input_signature=model.signature, autograph=False),
        tf.function(gradient, input_signature=model.signature, autograph=False),
    )


MODELS = {
    "lenet": LeNet,
    "autoencoder-400-200-100/finetune": AutoEncoder,
    "lstm": Sentiment,
    **tensorflow_large.MODELS,
}


def make(name, batch_size, threads):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = MODELS[name](batch_size)
    forward, gradient = compiled(model)
    batches = model.batches
    return Calls(
        lambda index: forward(*batches[index]),
        lambda index: gradient(*batches[index]),
        lambda: None,  # on the CPU a call returns when all of its results are there
        len(batches),
    )


if __name__ == "__main__":
    main(make, MODELS)
