"""TensorFlow with the weight of a square product transposed."""

from velodrome.adapters.frameworks.tensorflow import adapter


class Adapter(adapter.Adapter):
    def build(self, weights):
        super().build({name: array.T.copy() for name, array in weights.items()})
