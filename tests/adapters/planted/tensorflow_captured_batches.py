"""TensorFlow with a tf.function per batch that was traced with the batch as a constant."""

import tensorflow as tf

from velodrome.adapters.frameworks.tensorflow import adapter


class Adapter(adapter.Adapter):
    def _function(self, call):
        return [
            tf.function(lambda own=own: call(own), input_signature=[], autograph=False)
            for own in self._batches
        ]

    def forward(self, index):
        return self._forward[index]()

    def gradient(self, index):
        return self._gradient[index]()
