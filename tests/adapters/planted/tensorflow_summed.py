"""TensorFlow with the sum over the batch where its mean belongs."""

import tensorflow as tf

from velodrome.adapters.frameworks.tensorflow import adapter
from velodrome.adapters.frameworks.tensorflow.operations import LOSSES
from velodrome.adapters.models import layers as kinds


def summed(loss, output, values, labels):
    return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, output))


class Adapter(adapter.Adapter):
    losses = {**LOSSES, kinds.SoftmaxCrossEntropy: summed}  # noqa: RUF012
