"""The float64 reference as an adapter: what every other framework is held against.

It is also the framework that is always there. Its threads are those of NumPy's BLAS, which reads
OMP_NUM_THREADS, OPENBLAS_NUM_THREADS or MKL_NUM_THREADS once, when NumPy is imported: the agent
sets them, nothing here can.
"""

import numpy

from velodrome.adapters import contract
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.models import layers as kinds

_DROPOUT_SEED = 0


class Adapter(contract.Adapter):
    """Variant `float64`. dtype is that of the weights and batches handed in; all is computed in

    float64, and gradients are returned in it.
    """

    operations = OPERATIONS

    def __init__(self, model, variant, device, threads, dtype):
        if variant != "float64":
            raise contract.Unsupported("numpy has no variant {!r}, only float64".format(variant))
        if device != "cpu":
            raise contract.Unsupported("NumPy computes on the CPU only")
        if dtype not in ("float32", "float64"):
            raise contract.Unsupported("the reference computes in float64, not {}".format(dtype))
        self._model = model
        self._network = None
        self._batches = ()
        self._dropout = None

    @staticmethod
    def version():
        return numpy.__version__

    def build(self, weights):
        self._network = Network(self._model, weights, self.operations)

    def load(self, batches):
        self._batches = tuple(_wide(batch) for batch in batches)

    def set_parameter(self, name, values):
        self._network.put(name, values)

    def set_dropout(self, active):
        self._dropout = numpy.random.RandomState(_DROPOUT_SEED) if active else None

    def forward(self, index):
        return self._network.forward(self._batches[index], self._dropout)

    def gradient(self, index):
        return self._network.gradient(self._batches[index], self._dropout)

    def synchronize(self):
        """NumPy returns when it is done."""

    def loss(self, handle):
        return handle.loss

    def gradients(self, handle):
        return iter(sorted(handle.gradients.items()))

    def output(self, handle):
        return handle.output

    def kept_shares(self):
        dropout = numpy.random.RandomState(_DROPOUT_SEED)
        shares = {}
        for layer, inputs, output in self._network.steps(self._batches[0], dropout):
            if isinstance(layer, kinds.Dropout):
                shares[layer.name] = contract.measure_kept_share(inputs[0], output)
        return shares

    def notes(self):
        return ("float64; threads are set by the BLAS variables of the environment alone",)


def _wide(batch):
    """Images and vectors as float64, once, so that no call converts them; tokens as they are."""
    inputs = batch.inputs
    return batch._replace(
        inputs=inputs if inputs.dtype.kind == "i" else inputs.astype(numpy.float64)
    )
