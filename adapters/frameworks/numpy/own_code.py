"""Adapter for a user's code in NumPy: parameters are arrays by name, its gradient is its own."""

from typing import Any, Dict, Iterator, Tuple

import numpy

from velodrome.adapters import contract
from velodrome.adapters.contract import Batch
from velodrome.adapters.models.layers import Model
from velodrome.adapters.own_code import inputs
from velodrome.adapters.own_code.adapter import FLOAT64, NOTE, CodeAdapter
from velodrome.adapters.own_code.loading import load_code

Arrays = Dict[str, numpy.ndarray]


class Adapter(CodeAdapter):
    """A handle is (loss, gradients by name). Variant `float64`: computes in float64."""

    def __init__(self, model: Model, variant: str, device: str, threads: int, dtype: str) -> None:
        if device != "cpu" or dtype not in ("float32", FLOAT64):
            raise contract.Unsupported("NumPy computes on the CPU, in float64")
        self._batches: Tuple[Arrays, ...] = ()
        self._parameters: Arrays = {}
        self.code = load_code(model)

    @staticmethod
    def version() -> str:
        return numpy.__version__

    def build(self, weights: Arrays) -> None:
        numpy.random.seed(self.read_seed(weights))
        found = self.code.call(self.code.make)
        if not isinstance(found, dict) or not found:
            problem = "make() returned a {}".format(type(found).__name__)
            raise self.code.reject(self.code.make, problem, "Return a dict of arrays by name")
        self._parameters = {
            name: numpy.array(value, numpy.float32).astype(numpy.float64)
            for name, value in found.items()
        }

    def load(self, batches: Tuple[Batch, ...]) -> None:
        self._batches = tuple(
            {
                name: array.astype(numpy.float64) if array.dtype.kind == "f" else array
                for name, array in inputs.split_arrays(batch).items()
            }
            for batch in batches
        )

    def set_parameter(self, name: str, values: numpy.ndarray) -> None:
        self._parameters[name][...] = values

    def parameters(self) -> Iterator[Tuple[str, numpy.ndarray]]:
        for name, value in self._parameters.items():
            yield name, value.copy()

    def forward(self, index: int) -> Tuple[Any, Arrays]:
        return self._call(self.code.forward, index), {}

    def gradient(self, index: int) -> Tuple[Any, Arrays]:
        return self.read_gradient(self._call(self.code.gradient, index))

    def start_inference(self, statistics: Arrays) -> None:
        """Do nothing: the file's function for inference is one of its own."""

    def inference(self, index: int) -> Tuple[Any, int]:
        return self._call(self.code.inference, index), index

    def end_inference(self) -> None:
        """Do nothing."""

    def output(self, handle: Tuple[Any, int]) -> numpy.ndarray:
        examples = inputs.count_examples(self._batches[handle[1]])
        return self.require_output(numpy.asarray(handle[0]), examples)

    def synchronize(self) -> None:
        """Return at once: NumPy's calls return when they are done."""

    def loss(self, handle: Tuple[Any, Arrays]) -> float:
        loss = numpy.asarray(self.read_loss(handle[0]))
        self.require_scalar(loss.shape)
        return float(loss.reshape(()))

    def gradients(self, handle: Tuple[Any, Arrays]) -> Iterator[Tuple[str, numpy.ndarray]]:
        for name, gradient in handle[1].items():
            yield name, numpy.asarray(gradient)

    def notes(self) -> Tuple[str, ...]:
        return (NOTE,)

    def _call(self, function: Any, index: int) -> Any:
        try:
            return function(self._parameters, self._batches[index])
        except Exception as error:
            raise self.code.explain(error, function) from error
