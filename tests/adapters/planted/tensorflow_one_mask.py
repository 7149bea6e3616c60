"""TensorFlow with one dropout mask for all examples of a batch."""

import tensorflow as tf

from velodrome.adapters.frameworks.tensorflow import adapter
from velodrome.adapters.models import layers as kinds


def one_mask(layer, weights, call, x):
    return x * tf.nn.dropout(tf.ones_like(x[:1]), call.rates[layer.name])


class Adapter(adapter.Adapter):
    def operations(self):
        return {**super().operations(), kinds.Dropout: one_mask}
