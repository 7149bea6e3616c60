"""TensorFlow on several nodes, with the fault GROUP_FAULT in the all-reduce or the division."""

import os

from tensorflow_reductions import Apart, LeftOut, Lower, Summed

from velodrome.adapters.frameworks.tensorflow import adapter


class Stale(adapter.Adapter):
    """The last process keeps its examples of the first batches."""

    def load(self, batches):
        if self._forward is None or not self._placement.first:
            super().load(batches)


FAULTS = {
    "left out": LeftOut,
    "not divided": Summed,
    "bfloat16": Lower,
    "not shared": Apart,
    "stale": Stale,
}
Adapter = FAULTS[os.environ["GROUP_FAULT"]]
