"""NumPy whose products round as the precision says; variant `coarse` keeps fewer bits than that."""

import numpy

from velodrome.adapters import contract
from velodrome.adapters.frameworks.numpy.adapter import Adapter as InFloat64
from velodrome.adapters.frameworks.numpy.rounding import PRECISIONS, Precision, as_rounded


class Adapter(InFloat64):
    def __init__(self, model, variant, device, threads, dtype):
        super().__init__(model, "float64", device, threads, "float32")
        if dtype == "tf32":
            raise contract.Unsupported("rounded has no tf32 on a CPU")
        self._precision = PRECISIONS[dtype]
        if variant == "coarse":
            self._precision = Precision(*(max(2, bits - 4) for bits in self._precision))

    def build(self, weights):
        super().build(weights)
        self._network.round_products(self._precision)

    def load(self, batches):
        super().load(batches)
        self._batches = tuple(
            batch._replace(inputs=as_rounded(batch.inputs, self._precision))
            for batch in self._batches
        )

    def set_parameter(self, name, values):
        super().set_parameter(name, values)
        self._network.round_products(self._precision)

    def gradients(self, handle):
        return ((name, numpy.asarray(value)) for name, value in super().gradients(handle))

    def notes(self):
        return ()
