"""GPT-2 and ResNet-50 by hand in TensorFlow, for tensorflow_loop.py."""

import drawing
import numpy as np
import tensorflow as tf

WIDTH, HEADS, BLOCKS, WORDS, POSITIONS, LENGTH = 768, 12, 12, 50257, 1024, 128


def variable(values):
    return tf.Variable(values.astype(np.float32))


def weight(*shape):
    return variable(drawing.weight(*shape))


def cross_entropy(labels, logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


class Gpt2:
    """GPT-2 small, 128 words: the loss of the next word at every step."""

    def __init__(self, batch_size):
        self.embedding = variable(0.1 * drawing.weight(WORDS, WIDTH, fan_in=1))
        self.positions = variable(0.1 * drawing.weight(POSITIONS, WIDTH, fan_in=1))
        self.blocks = [self.block() for _ in range(BLOCKS)]
        self.norm = self.scale_and_bias()
        parts = [part for block in self.blocks for pair in block for part in pair]
        self.variables = [self.embedding, self.positions, *parts, *self.norm]
        self.batches = [tuple(map(tf.constant, drawing.texts(batch_size, LENGTH)))]
        self.signature = [tf.TensorSpec.from_tensor(value) for value in self.batches[0]]
        self.mask = tf.constant(np.triu(np.full((LENGTH, LENGTH), -1e9, np.float32), 1))

    def block(self):
        return (
            self.scale_and_bias(),
            self.linear(WIDTH, 3 * WIDTH),
            self.linear(WIDTH, WIDTH),
            self.scale_and_bias(),
            self.linear(WIDTH, 4 * WIDTH),
            self.linear(4 * WIDTH, WIDTH),
        )

    def linear(self, inputs, units):
        return weight(inputs, units), variable(drawing.bias(units))

    def scale_and_bias(self):
        return variable(np.ones(WIDTH)), variable(np.zeros(WIDTH))

    def loss(self, words, labels):
        x = tf.gather(self.embedding, words) + self.positions[:LENGTH]
        x = tf.reshape(x, [-1, WIDTH])
        for norm1, mixed, merged, norm2, wide, narrow in self.blocks:
            x += apply(merged, self.attend(apply(mixed, layer_norm(norm1, x))))
            wider = tf.nn.gelu(apply(wide, layer_norm(norm2, x)), approximate=True)
            x += apply(narrow, wider)
        logits = tf.matmul(layer_norm(self.norm, x), self.embedding, transpose_b=True)
        return cross_entropy(tf.reshape(labels, [-1]), logits)

    def attend(self, mixed):
        """Mix the steps. mixed (batch * time, 3 WIDTH): queries, keys, values."""
        size = WIDTH // HEADS
        split = tf.reshape(mixed, [-1, LENGTH, 3, HEADS, size])
        query, key, value = tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4]))
        scores = tf.matmul(query * size**-0.5, key, transpose_b=True) + self.mask
        found = tf.matmul(tf.nn.softmax(scores), value)
        return tf.reshape(tf.transpose(found, [0, 2, 1, 3]), [-1, WIDTH])


def apply(linear, x):
    return tf.nn.bias_add(x @ linear[0], linear[1])


def layer_norm(pair, x):
    mean, variance = tf.nn.moments(x, [1], keepdims=True)
    return (x - mean) * (tf.math.rsqrt(variance + 1e-5) * pair[0]) + pair[1]


class ResNet50:
    """ResNet-50 v1.5 in training mode. Layers append their variables in the order of their use."""

    def __init__(self, batch_size):
        self.variables = []
        self.convolutions, self.norms = {}, {}
        for name, *shape in resnet_convolutions():
            self.convolutions[name] = self.new(weight(*shape))
            ones, zeros = np.ones(shape[3]), np.zeros(shape[3])
            self.norms[name] = self.new(variable(ones)), self.new(variable(zeros))
        self.classifier = self.new(weight(2048, 1000)), self.new(variable(drawing.bias(1000)))
        images, labels = drawing.photographs(batch_size)
        self.batches = [(tf.constant(images.transpose(0, 2, 3, 1)), tf.constant(labels))]
        self.signature = [tf.TensorSpec.from_tensor(value) for value in self.batches[0]]

    def new(self, created):
        self.variables.append(created)
        return created

    def loss(self, images, labels):
        x = tf.nn.relu(self.convolve("stem", images, 2))
        x = tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
        for stage, count in enumerate((3, 4, 6, 3)):
            for number in range(count):
                own, stride = "{}.{}.".format(stage, number), 2 if stage and not number else 1
                shortcut = x if number else self.convolve(own + "shortcut", x, stride)
                x = tf.nn.relu(self.convolve(own + "1", x, 1))
                x = tf.nn.relu(self.convolve(own + "2", x, stride))
                x = tf.nn.relu(self.convolve(own + "3", x, 1) + shortcut)
        return cross_entropy(labels, apply(self.classifier, tf.reduce_mean(x, [1, 2])))

    def convolve(self, name, x, stride):
        """Convolve and normalize over the batch."""
        kernel = self.convolutions[name]
        edge = [kernel.shape[0] // 2] * 2
        padding = "SAME" if stride == 1 else [[0, 0], edge, edge, [0, 0]]
        x = tf.nn.conv2d(x, kernel, stride, padding)
        scale, bias = self.norms[name]
        return tf.compat.v1.nn.fused_batch_norm(x, scale, bias, epsilon=1e-5)[0]


def resnet_convolutions():
    """Yield (name, height, width, in, out) of each convolution."""
    yield "stem", 7, 7, 3, 64
    before = 64
    for stage, count in enumerate((3, 4, 6, 3)):
        maps = 64 * 2**stage
        for number in range(count):
            own = "{}.{}.".format(stage, number)
            if not number:
                yield own + "shortcut", 1, 1, before, 4 * maps
            yield own + "1", 1, 1, before, maps
            yield own + "2", 3, 3, maps, maps
            yield own + "3", 1, 1, maps, 4 * maps
            before = 4 * maps


MODELS = {"gpt2-128": Gpt2, "resnet50": ResNet50}
