"""Adapter for NumPy: the float64 reference, with which every other framework is compared.

It is also the framework that is always available. NumPy's BLAS reads the number of its threads from
OMP_NUM_THREADS, OPENBLAS_NUM_THREADS or MKL_NUM_THREADS once, when NumPy is imported; the agent
sets them.
"""

from typing import Dict, Iterator, Optional, Tuple

import numpy

from velodrome.adapters import contract, optimizers
from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network, Result
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Model

_DROPOUT_SEED = 0


class Adapter(contract.Adapter):
    """Variant `float64`: computes and returns float64, whatever the dtype of its inputs."""

    operations = OPERATIONS

    def __init__(self, model: Model, variant: str, device: str, threads: int, dtype: str) -> None:
        if variant != "float64":
            raise contract.Unsupported("numpy has no variant {!r}, only float64".format(variant))
        if device != "cpu":
            raise contract.Unsupported("NumPy computes on the CPU only")
        if dtype not in ("float32", "float64"):
            raise contract.Unsupported("the reference computes in float64, not {}".format(dtype))
        self._model = model
        self._network: Network
        self._batches: Tuple[Batch, ...] = ()
        self._dropout: Optional[numpy.random.RandomState] = None

    @staticmethod
    def version() -> str:
        return numpy.__version__

    def build(self, weights: Dict[str, numpy.ndarray]) -> None:
        self._network = Network(self._model, weights, self.operations)

    def load(self, batches: Tuple[Batch, ...]) -> None:
        self._batches = tuple(_wide(batch) for batch in batches)

    def set_parameter(self, name: str, values: numpy.ndarray) -> None:
        self._network.put(name, values)

    def set_dropout(self, active: bool) -> None:  # noqa: FBT001 - the contract's
        self._dropout = numpy.random.RandomState(_DROPOUT_SEED) if active else None

    def forward(self, index: int) -> Result:
        return self._network.forward(self._batches[index], self._dropout)

    def gradient(self, index: int) -> Result:
        return self._network.gradient(self._batches[index], self._dropout)

    def synchronize(self) -> None:
        """Return at once: NumPy's calls return when they are done."""

    def loss(self, handle: Result) -> float:
        return handle.loss

    def gradients(self, handle: Result) -> Iterator[Tuple[str, numpy.ndarray]]:
        return iter(sorted(handle.gradients.items()))

    def output(self, handle: Result) -> numpy.ndarray:
        return handle.output

    def start_inference(self, statistics: Dict[str, numpy.ndarray]) -> None:
        self._statistics = statistics

    def inference(self, index: int) -> Result:
        output = self._network.evaluate(self._batches[index], self._statistics)
        return Result(float("nan"), output, {})

    def end_inference(self) -> None:
        """Do nothing: forward and gradient read no statistics."""

    def start_training(self, optimizer: str, weights: Dict[str, numpy.ndarray]) -> None:
        self._optimizer, self._updates = optimizer, 0
        self._moments: Dict[str, optimizers.Moments] = {}
        for entry in shapes.list_trained(self._model):
            self._network.put(entry.name, weights[entry.name])
            self._moments[entry.name] = optimizers.begin(optimizer, weights[entry.name])

    def keep_gradients(self, index: int) -> Result:
        self._kept = self.gradient(index)
        return self._kept

    def update(self) -> Result:
        self._advance(self._kept)
        return self._kept

    def step(self, index: int) -> Result:
        result = self.gradient(index)
        self._advance(result)
        return result

    def parameters(self) -> Iterator[Tuple[str, numpy.ndarray]]:
        for entry in shapes.list_trained(self._model):
            yield entry.name, numpy.array(self._network.read(entry.name))

    def kept_shares(self) -> Dict[str, float]:
        dropout = numpy.random.RandomState(_DROPOUT_SEED)
        shares = {}
        for layer, inputs, output in self._network.steps(self._batches[0], dropout):
            if isinstance(layer, kinds.Dropout):
                shares[layer.name] = contract.measure_kept_share(inputs[0], output)
        return shares

    def notes(self) -> Tuple[str, ...]:
        return ("float64; threads are set by the BLAS variables of the environment alone",)

    def _advance(self, result: Result) -> None:
        self._updates += 1
        for name, gradient in result.gradients.items():
            values, self._moments[name] = optimizers.advance(
                self._optimizer,
                self._network.read(name),
                gradient,
                self._moments[name],
                self._updates,
            )
            self._network.put(name, values)


def _wide(batch: Batch) -> Batch:
    """Return images and vectors as float64, so that no call converts them; tokens as they are."""
    inputs = batch.inputs
    return batch._replace(
        inputs=inputs if inputs.dtype.kind == "i" else inputs.astype(numpy.float64)
    )
