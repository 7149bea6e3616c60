"""TensorFlow with the mean of each window where the largest value belongs."""

import tensorflow as tf

from velodrome.adapters.frameworks.tensorflow import adapter
from velodrome.adapters.models import layers as kinds


def average(layer, weights, call, x):
    return tf.nn.avg_pool2d(x, layer.size, layer.stride, "VALID")


class Adapter(adapter.Adapter):
    def operations(self):
        return {**super().operations(), kinds.MaxPool: average}
