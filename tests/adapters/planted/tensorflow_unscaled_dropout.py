"""TensorFlow with dropout that does not scale what it keeps."""

import tensorflow as tf

from velodrome.adapters.frameworks.tensorflow import adapter
from velodrome.adapters.models import layers as kinds


def unscaled(layer, weights, call, x):
    rate = call.rates[layer.name]
    return tf.nn.dropout(x, rate) * (1 - rate)


class Adapter(adapter.Adapter):
    def operations(self):
        return {**super().operations(), kinds.Dropout: unscaled}
