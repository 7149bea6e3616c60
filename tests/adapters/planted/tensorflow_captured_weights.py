"""TensorFlow with a `forward` whose variables were made constants, as for serving."""

from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from velodrome.adapters.frameworks.tensorflow import adapter


class Adapter(adapter.Adapter):
    frozen = None

    def load(self, batches):
        super().load(batches)
        if self.frozen is None:
            traced = self._forward.get_concrete_function()
            self.frozen = convert_variables_to_constants_v2(traced)

    def forward(self, index):
        return self.frozen(*[array for _, array in sorted(self._batches[index].items())])
