"""A model's graph in CNTK: its inputs, its parameters, and the function that is its loss."""

import cntk
import numpy

from velodrome.adapters.frameworks.cntk.operations import LOSSES, OPERATIONS
from velodrome.adapters.frameworks.graph import find_entry
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

DROPOUT_RATE = "dropoutRate"


class Network(object):
    """A model. loss: of a batch, or the output if there is no loss. trained: by name.

    output: the last layer's. trained_loss: the loss once more, for a trainer. Both share parameters
    and inputs with loss, and have dropout functions of their own: CNTK gives a changed rate to only
    one of the functions of a layer. dropouts: per dropout layer, (what it reads, its function).
    """

    def __init__(self, model, weights):
        """Raise Unsupported if a layer or the loss is of a kind without an operation."""
        self.trained, self.dropouts, self._statistics = {}, {}, {}
        self._model = model
        self._inputs = _inputs(model)
        self._reads = shapes.list_inputs(model)
        self._entries = {entry.name: entry for entry in shapes.list_parameters(model)}
        self._sources = shapes.compute_output_shapes(model)
        values = dict(self._inputs)
        for layer in model.layers:
            values[layer.name] = self._output(layer, values, weights)
        loss = find_entry(LOSSES, model.loss, "cntk")
        output = values[model.layers[-1].name]
        self.loss = loss(model.loss, output, values)
        self.output, self.trained_loss = self._copy(output), self._copy(self.loss)

    def arguments(self, batch, device):
        """Map CNTK's inputs to the values of a batch, on the device."""
        found = {self._inputs["input"]: self._examples(batch, device)}
        if isinstance(self._model.loss, kinds.StepCrossEntropy):
            labels = batch.labels.astype("float32")
            found[self._inputs["labels"]] = cntk.Value(labels, device=device)
        elif batch.labels is not None:
            one_each = [[int(label)] for label in batch.labels]
            found[self._inputs["labels"]] = cntk.Value.one_hot(
                one_each, self._model.classes, device=device
            )
        if batch.lengths is not None:
            lengths = batch.lengths.astype("float32").reshape(-1, 1)
            found[self._inputs["lengths"]] = cntk.Value(lengths, device=device)
            numbers = [numpy.arange(length) for length in batch.lengths]
            found[self._inputs["numbers"]] = self._sequences("numbers", numbers, device)
        fed = set(self.loss.arguments)
        return {variable: value for variable, value in found.items() if variable in fed}

    def canonical(self, name, array):
        """Return a gradient in its canonical layout."""
        entry = self._entries[name]
        if not self._keeps_layout(entry):
            return array.reshape(-1, array.shape[-1]).T
        return array.reshape(entry.shape)

    def assign(self, name, values):
        """Give a trained parameter other values, canonical layout."""
        array = self._in_own_layout(self._entries[name], values)
        self.trained[name].value = numpy.ascontiguousarray(array)

    def set_statistics(self, statistics):
        """Set the running mean and variance of each batch normalization, by `layer.role`."""
        for name, constant in self._statistics.items():
            constant.value = numpy.array(statistics[name])

    def set_rate(self, name, rate):
        """Set the rate of a dropout layer in all functions."""
        own = self.dropouts[name][1]
        copies = [whole.find_by_name(own.name) for whole in (self.output, self.trained_loss)]
        for function in [own] + [copy for copy in copies if copy is not None]:
            function.set_attribute(DROPOUT_RATE, rate)

    def _copy(self, function):
        if not self.dropouts:
            return function
        same = {argument: argument for argument in function.arguments}
        return function.clone(cntk.CloneMethod.share, same)

    def _examples(self, batch, device):
        if batch.lengths is None:
            return cntk.Value(batch.inputs.astype("float32"), device=device)
        examples = [tokens[:length] for tokens, length in zip(batch.inputs, batch.lengths)]
        return self._sequences("input", examples, device)

    def _sequences(self, name, examples, device):
        columns = [own.astype("float32").reshape(-1, 1) for own in examples]
        return cntk.Value.create(self._inputs[name], columns, device=device)

    def _output(self, layer, values, weights):
        operation = find_entry(OPERATIONS, layer, "cntk")
        read = [values[name] for name in self._reads[layer.name]]
        if isinstance(layer, kinds.MeanOverTime):
            read.append(values.get("lengths"))
        if isinstance(layer, kinds.LearnedPositions):
            read.append(values.get("numbers"))

        if isinstance(layer, kinds.BatchNorm):
            read += self._make_statistics(layer.name, self._sources[layer.name][:1])

        def weight(role):
            owner = layer.embedding if isinstance(layer, kinds.TiedLinear) else layer.name
            return self._weight(self._entries["{}.{}".format(owner, role)], weights)

        output = operation(layer, weight, *read)
        if isinstance(layer, kinds.Dropout):
            self.dropouts[layer.name] = (read[0], output)
        return output

    def _make_statistics(self, name, shape):
        """Return constants: the running mean and variance, and from how many values they are."""
        found = [cntk.Constant(first, shape) for first in (0.0, 1.0)]
        for role, constant in zip(("mean", "variance"), found):
            self._statistics["{}.{}".format(name, role)] = constant
        return found + [cntk.Constant(0.0)]

    def _weight(self, entry, weights):
        """Make a Parameter, unless a layer before has it, or a Constant if it is frozen."""
        if entry.name in self.trained:
            return self.trained[entry.name]
        array = self._in_own_layout(entry, weights[entry.name])
        if entry.frozen:
            return cntk.Constant(array)
        self.trained[entry.name] = cntk.Parameter(array.shape, init=array)
        return self.trained[entry.name]

    def _in_own_layout(self, entry, array):
        if not self._keeps_layout(entry):
            source = self._sources[self._reads[entry.layer][0]]
            rows = source if self._is_linear(entry) else array.shape[1:]
            return array.T.reshape(tuple(rows) + (-1,))
        if entry.role == "bias" and self._is_of_conv(entry):
            return array.reshape(-1, 1, 1)
        return array

    def _keeps_layout(self, entry):
        """Return True if it has the canonical layout; products use (in, out), in of any rank."""
        (layer,) = [own for own in self._model.layers if own.name == entry.layer]
        return len(entry.shape) == 1 or isinstance(
            layer, (kinds.Conv, kinds.TransposedConv, kinds.Embedding, kinds.LearnedPositions)
        )

    def _is_linear(self, entry):
        (layer,) = [own for own in self._model.layers if own.name == entry.layer]
        return isinstance(layer, kinds.Linear)

    def _is_of_conv(self, entry):
        (layer,) = [own for own in self._model.layers if own.name == entry.layer]
        return isinstance(layer, (kinds.Conv, kinds.TransposedConv))


def _inputs(model):
    found = {}
    if isinstance(model.input, kinds.Sequences):
        found["input"] = cntk.sequence.input_variable((1,))
        found["lengths"] = cntk.input_variable((1,))
        found["numbers"] = cntk.sequence.input_variable((1,))  # of its steps
    else:
        found["input"] = cntk.input_variable(shapes.compute_input_shape(model))
    if isinstance(model.loss, kinds.StepCrossEntropy):
        found["labels"] = cntk.input_variable(shapes.compute_input_shape(model)[:1])
    elif model.classes:
        found["labels"] = cntk.input_variable(model.classes, is_sparse=True)
    return found
