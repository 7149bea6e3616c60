"""A model's network in float64: forward and backward by one operation per kind of layer."""

from typing import Dict, FrozenSet, Iterator, NamedTuple, Optional, Tuple

import numpy

from velodrome.adapters.contract import Batch, Unsupported
from velodrome.adapters.frameworks.graph import share_tied
from velodrome.adapters.frameworks.numpy import (
    attention,
    images,
    linear,
    loops,
    losses,
    normalization,
    pointwise,
    sequences,
    steps,
)
from velodrome.adapters.frameworks.numpy.operation import Array, CallContext, Operation, Weights
from velodrome.adapters.frameworks.numpy.rounding import Precision, as_rounded
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Layer, Model

OPERATIONS: Dict[type, Operation] = {
    kinds.Conv: images.CONV,
    kinds.DilatedConv: images.DILATED_CONV,
    kinds.TransposedConv: images.TRANSPOSED_CONV,
    kinds.MaxPool: images.MAX_POOL,
    kinds.AvgPool: images.AVG_POOL,
    kinds.BatchNorm: normalization.BATCH_NORM,
    kinds.Lrn: images.LRN,
    kinds.Linear: linear.LINEAR,
    kinds.Relu: pointwise.RELU,
    kinds.MeanOverImage: images.MEAN_OVER_IMAGE,
    kinds.Tanh: pointwise.TANH,
    kinds.Sigmoid: pointwise.SIGMOID,
    kinds.Gelu: pointwise.GELU,
    kinds.Silu: pointwise.SILU,
    kinds.Dropout: pointwise.DROPOUT,
    kinds.Duplicate: pointwise.DUPLICATE,
    kinds.Embedding: sequences.EMBEDDING,
    kinds.Lstm: sequences.LSTM,
    kinds.Gru: sequences.GRU,
    kinds.Attention: attention.ATTENTION,
    kinds.Loop: loops.LOOP,
    kinds.Add: pointwise.ADD,
    kinds.Multiply: pointwise.MULTIPLY,
    kinds.Custom: pointwise.CUSTOM,
    kinds.MeanOverTime: sequences.MEAN_OVER_TIME,
    kinds.StepLinear: steps.STEP_LINEAR,
    kinds.TiedLinear: steps.TIED_LINEAR,
    kinds.LayerNorm: normalization.LAYER_NORM,
    kinds.RmsNorm: normalization.RMS_NORM,
    kinds.LearnedPositions: steps.LEARNED_POSITIONS,
    kinds.Patches: steps.PATCHES,
    kinds.ClassToken: steps.CLASS_TOKEN,
    kinds.FirstStep: steps.FIRST_STEP,
}


class Result(NamedTuple):
    """The result of one call. loss is nan for a model without one."""

    loss: float
    output: numpy.ndarray
    gradients: Dict[str, numpy.ndarray]


Step = Tuple[Layer, Tuple[numpy.ndarray, ...], numpy.ndarray]  # layer, inputs, output


class Network(object):
    """A model with its weights. operations: one per kind of layer.

    devices: how many share a batch equally. A batch normalization sees the examples of one.
    """

    def __init__(
        self, model: Model, weights: Dict[str, numpy.ndarray], operations: Dict[type, Operation]
    ) -> None:
        self.model = model
        self.devices = 1
        self._precision: Optional[Precision] = None
        self._operations = {layer.name: _operation(layer, operations) for layer in model.layers}
        self._reads = shapes.list_inputs(model)
        self._needed = shapes.find_gradient_flow(model)
        self._weights: Dict[str, Weights] = {layer.name: {} for layer in model.layers}
        self._trained: Dict[str, Dict[str, str]] = {layer.name: {} for layer in model.layers}
        for entry in shapes.list_parameters(model):
            self._weights[entry.layer][entry.role] = numpy.asarray(
                weights[entry.name], numpy.float64
            )
            if not entry.frozen:
                self._trained[entry.layer][entry.role] = entry.name
        share_tied(model, self._weights)
        share_tied(model, self._trained)

    def round_products(self, precision: Precision) -> None:
        """Compute all products in a precision from now on; inputs have to be rounded ones, too."""
        self._precision = precision
        for own in self._weights.values():
            for role in own:
                own[role] = as_rounded(own[role], precision)

    def outputs(
        self, batch: Batch, dropout: Optional[numpy.random.RandomState] = None
    ) -> Dict[str, numpy.ndarray]:
        """Return every layer's output by its name, and the example as `input`."""
        return self._walk(self.model.layers, {"input": batch.inputs}, batch, dropout, {})

    def steps(
        self, batch: Batch, dropout: Optional[numpy.random.RandomState] = None
    ) -> Iterator[Step]:
        """Yield one step per layer, so that a caller can stop early."""
        values = {"input": batch.inputs}
        call = CallContext(batch.lengths, dropout)
        for layer in self.model.layers:
            inputs, output, _ = self._step(layer, values, call)
            values[layer.name] = output
            yield layer, inputs, output

    def forward(self, batch: Batch, dropout: Optional[numpy.random.RandomState] = None) -> Result:
        values = self.outputs(batch, dropout)
        loss, _ = losses.compute_loss(self.model, values, batch.labels)
        return Result(loss, values[self.model.layers[-1].name], {})

    def evaluate(self, batch: Batch, statistics: Dict[str, Array]) -> Array:
        """Return the last layer's output in evaluation mode.

        statistics: as in velodrome.adapters.contract.Adapter.start_inference.
        """
        values = {"input": batch.inputs}
        call = CallContext(batch.lengths, None, statistics)
        spent = self._list_spent()
        for layer in self.model.layers:
            _, values[layer.name], _ = self._step(layer, values, call)
            for name in spent[layer.name]:
                del values[name]
        return values[self.model.layers[-1].name]

    def measure_statistics(self, batch: Batch) -> Dict[str, Array]:
        """Return mean and variance of the input of each batch normalization, float32, in training.

        Keys are `layer.mean` and `layer.variance`; empty for a model without one.
        """
        found: Dict[str, Array] = {}
        if any(isinstance(layer, kinds.BatchNorm) for layer in self.model.layers):
            for layer, inputs, _ in self.steps(batch):
                if isinstance(layer, kinds.BatchNorm):
                    found.update(normalization.measure_statistics(layer.name, inputs[0]))
        return found

    def _list_spent(self) -> Dict[str, Tuple[str, ...]]:
        """List per layer the values that no later layer reads, so that memory stays small."""
        last = {name: layer for layer, own in self._reads.items() for name in own}
        return {
            layer.name: tuple(name for name, reader in last.items() if reader == layer.name)
            for layer in self.model.layers
        }

    def put(self, name: str, values: numpy.ndarray) -> None:
        """Set the values of the parameter `layer.role`, in canonical layout."""
        layer, role = name.rsplit(".", 1)
        self._weights[layer][role] = numpy.asarray(values, numpy.float64)

    def read(self, name: str) -> Array:
        """Return the values of the parameter `layer.role`."""
        layer, role = name.rsplit(".", 1)
        return self._weights[layer][role]

    def gradient(self, batch: Batch, dropout: Optional[numpy.random.RandomState] = None) -> Result:
        return self.gradient_behind(0, {"input": batch.inputs}, batch, dropout)

    def gradient_behind(
        self,
        start: int,
        values: Dict[str, numpy.ndarray],
        batch: Batch,
        dropout: Optional[numpy.random.RandomState] = None,
    ) -> Result:
        """Compute the loss and the gradients of the layers from number `start` on.

        values: outputs of earlier layers that they read, by name.
        """
        layers = self.model.layers[start:]
        saved: Dict[str, object] = {}
        values = self._walk(layers, values, batch, dropout, saved)
        last = self.model.layers[-1].name
        loss, of_last = losses.compute_loss(self.model, values, batch.labels)
        return Result(loss, values[last], self._backward(layers, saved, {last: of_last}))

    def _walk(
        self,
        layers: Tuple[Layer, ...],
        values: Dict[str, Array],
        batch: Batch,
        dropout: Optional[numpy.random.RandomState],
        saved: Dict[str, object],
    ) -> Dict[str, Array]:
        values = dict(values)
        call = CallContext(batch.lengths, dropout)
        for layer in layers:
            _, values[layer.name], saved[layer.name] = self._step(layer, values, call)
        return values

    def _step(
        self, layer: Layer, values: Dict[str, Array], call: CallContext
    ) -> Tuple[Tuple[Array, ...], Array, object]:
        inputs = tuple(values[name] for name in self._reads[layer.name])
        operation = self._operations[layer.name]
        output, saved = operation.forward(layer, self._weights[layer.name], inputs, call)
        return inputs, self._mark(output), saved

    def _mark(self, values: Array) -> Array:
        """Return what a layer gives, marked for rounding again where NumPy has lost the mark."""
        marked: Array = as_rounded(values, self._precision) if self._precision else values
        return marked

    def _backward(
        self,
        layers: Tuple[Layer, ...],
        saved: Dict[str, object],
        of_outputs: Dict[str, Optional[Array]],
    ) -> Dict[str, Array]:
        """Return gradients by `layer.role`. of_outputs: gradient per layer's output, consumed."""
        found: Dict[str, Array] = {}
        for layer in reversed(layers):
            of_output = of_outputs.pop(layer.name, None)
            own = saved.pop(layer.name)
            if of_output is None or not self._needed[layer.name]:
                continue
            of_inputs, of_roles = self._operations[layer.name].backward(
                layer,
                self._weights[layer.name],
                own,
                self._mark(of_output),
                self._wanted_inputs(layer),
            )
            for role, key in self._trained[layer.name].items():
                found[key] = found[key] + of_roles[role] if key in found else of_roles[role]
            for name, of_input in zip(self._reads[layer.name], of_inputs):
                if self._needed[name]:
                    before = of_outputs.get(name)
                    of_outputs[name] = of_input if before is None else before + of_input
        return found

    def _wanted_inputs(self, layer: Layer) -> FrozenSet[str]:
        flows = any(self._needed[name] for name in self._reads[layer.name])
        return frozenset(self._trained[layer.name]).union({"input"} if flows else ())


def _operation(layer: Layer, operations: Dict[type, Operation]) -> Operation:
    try:
        return operations[type(layer)]
    except KeyError:
        raise Unsupported("no {} in the reference".format(type(layer).__name__)) from None
