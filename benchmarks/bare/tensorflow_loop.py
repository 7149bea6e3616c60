"""LeNet and the LSTM timed by hand in TensorFlow: what Velodrome's own figures are held against.

Nothing of Velodrome is in here. Prints one line of JSON, the median ns of one batch:
{"forward_ns": ..., "gradient_ns": ...}.

    python tensorflow_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import argparse
import json
import statistics
import time

import numpy as np
import tensorflow as tf

EXAMPLES = 1989
QUANTILES = (12, 43, 48, 52, 55, 58, 61, 64, 66, 68, 71, 74, 77, 79, 82, 85, 88, 91, 94, 96, 99)
UNITS = 128
WARM_UP_S = 1.0


def weight(*shape):
    scale = float(np.prod(shape[:-1])) ** -0.5
    return tf.Variable(np.random.standard_normal(shape).astype(np.float32) * np.float32(scale))


def bias(units):
    return tf.Variable(0.1 * tf.random.normal([units]))


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
        images = tf.random.normal([batch_size, 28, 28, 1])
        labels = tf.random.uniform([batch_size], maxval=10, dtype=tf.int64)
        self.batches = [(images, labels)]
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
        self.batches = sentences(batch_size)
        self.signature = [
            tf.TensorSpec([None, batch_size], tf.int64),
            tf.TensorSpec([batch_size], tf.int32),
            tf.TensorSpec([batch_size], tf.int64),
        ]

    def loss(self, tokens, lengths, labels):
        embedding, of_input, of_hidden, gate_bias, classifier, class_bias = self.variables
        h = lstm(tf.gather(embedding, tokens), *map(tf.identity, (of_input, of_hidden, gate_bias)))
        within = tf.transpose(tf.sequence_mask(lengths, tf.shape(h)[0], tf.float32))
        mean = tf.reduce_sum(h * within[:, :, None], 0) / tf.cast(lengths, tf.float32)[:, None]
        return cross_entropy(labels, tf.nn.bias_add(mean @ classifier, class_bias))


def sentences(batch_size):
    """All batches of (tokens, lengths, labels), by ascending length."""
    at = np.linspace(0, len(QUANTILES) - 1, EXAMPLES)
    every = np.floor(np.interp(at, np.arange(len(QUANTILES)), QUANTILES) + 0.5).astype(np.int32)
    batches = []
    for start in range(0, EXAMPLES - batch_size + 1, batch_size):
        lengths = every[start : start + batch_size]
        tokens = np.random.randint(1, 10000, (lengths.max(), batch_size))
        tokens[np.arange(lengths.max())[:, None] >= lengths] = 0
        labels = np.random.randint(2, size=batch_size)
        batches.append((tf.constant(tokens), tf.constant(lengths), tf.constant(labels)))
    return batches


def cross_entropy(labels, logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


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


def sample_ns(function, batches):
    """One pass. On the CPU a call returns when all of its results are there."""
    started = time.perf_counter_ns()
    for batch in batches:
        function(*batch)
    return time.perf_counter_ns() - started


def median_ns(function, batches, options):
    """Of one batch, after a warm-up."""
    ends = time.perf_counter() + WARM_UP_S
    while time.perf_counter() < ends:
        sample_ns(function, batches)
    samples, ends = [], time.perf_counter() + options.seconds
    while len(samples) < options.samples or time.perf_counter() < ends:
        samples.append(sample_ns(function, batches))
    return statistics.median(samples) / len(batches)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=("lenet", "lstm"))
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--samples", type=int, default=10, help="the fewest to take")
    parser.add_argument("--seconds", type=float, default=4.0, help="to sample for, per phase")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = {"lenet": LeNet, "lstm": Sentiment}[options.model](options.batch_size)
    forward, gradient = compiled(model)
    found = {
        "forward_ns": median_ns(forward, model.batches, options),
        "gradient_ns": median_ns(gradient, model.batches, options),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
