"""A model's graphs: from the symbols of a batch to loss, gradients, output and new values."""

import numpy

from velodrome.adapters.frameworks.channels_last import TABLES
from velodrome.adapters.frameworks.graph import (
    find_entry,
    is_time_first,
    locate_parameters,
    share_tied,
)
from velodrome.adapters.frameworks.theano_family.library import TheanoContext
from velodrome.adapters.frameworks.theano_family.steps import batch_first
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

SYMBOLS = {kinds.Images: "tensor4", kinds.Vectors: "matrix", kinds.States: "tensor3"}
TOKENS = "lmatrix"


class Network(object):
    """A model with its weights as shared variables, and the graphs of its functions.

    draw comes before everything but set_dropout.

    layers, losses: as in velodrome.adapters.frameworks.theano_family.layers. Unsupported if one is
    missing.
    """

    def __init__(self, model, weights, library, layers, losses):
        self._model, self._library = model, library
        self._steps = [
            (layer, find_entry(layers, layer, "Theano-family")) for layer in model.layers
        ]
        self._loss = find_entry(losses, model.loss, "Theano-family")
        self.symbols = []
        self._weights = {layer.name: {} for layer in model.layers}
        self._trained = []
        for layer, entry, _ in locate_parameters(model):
            array = _inward(layer, weights[entry.name])
            shared = library.root.shared(array, name=entry.name, borrow=True)
            self._weights[layer.name][entry.role] = shared
            if not entry.frozen:
                self._trained.append((entry.name, shared, layer))
        share_tied(model, self._weights)
        self._rates = {
            layer.name: library.root.shared(numpy.float32(0), name=layer.name)
            for layer in self._dropouts()
        }
        self._statistics = {
            layer.name: _make_statistics(library, self._weights[layer.name]["scale"])
            for layer in model.layers
            if isinstance(layer, kinds.BatchNorm)
        }

    def assign(self, key, values):
        """Give a trained parameter other values, canonical layout."""
        for name, shared, layer in self._trained:
            if name == key:
                shared.set_value(_inward(layer, values))

    def fill(self, weights):
        """Give every trained parameter the float32 values in `weights`, canonical layout.

        Copies, since the functions that update parameters may write into their memory.
        """
        for name, shared, layer in self._trained:
            shared.set_value(_inward(layer, weights[name]))

    def parameters(self):
        """Yield (key, copy of the present values) of each trained parameter, canonical layout."""
        for name, shared, layer in self._trained:
            yield name, _outward(layer, shared.get_value())

    def list_trained(self):
        """List the shared variables of the trained parameters."""
        return [shared for _, shared, _ in self._trained]

    def set_statistics(self, statistics):
        """Set the running means and variances of evaluation mode, as the contract has them."""
        for name, (mean, variance) in self._statistics.items():
            mean.set_value(statistics[name + ".mean"])
            variance.set_value(statistics[name + ".variance"])

    def set_dropout(self, active):
        for layer in self._dropouts():
            self._rates[layer.name].set_value(numpy.float32(layer.rate if active else 0))

    def forward(self):
        """Return [loss], or [output] of a model without a loss."""
        return [self._result]

    def gradient(self):
        """Return [loss, then the gradient of each trained parameter]."""
        return [self._result] + self._library.root.grad(self._result, self.list_trained())

    def evaluate(self):
        """Return [output of the last layer] in evaluation mode, sequences with the batch first."""
        values, _ = self._walk(self._context._replace(statistics=self._statistics))
        return [values[self._model.layers[-1].name]]

    def dropouts(self):
        """Return per dropout layer its input and its output."""
        return {layer.name: self._seen[layer.name] for layer in self._dropouts()}

    def canonical(self, gradients):
        """Yield (key, gradient) of each trained parameter, in the canonical layout."""
        for (name, _, layer), own in zip(self._trained, gradients):
            yield name, _outward(layer, numpy.asarray(own))

    def draw(self, batch_size):
        """Draw the graph for a known batch size, with which some operations are faster.

        It is drawn once: later batches have the same size.
        """
        if self.symbols:
            return
        tensor, model = self._library.tensor, self._model
        inputs = getattr(tensor, SYMBOLS.get(type(model.input), TOKENS))("inputs")
        labels = self._draw_labels()
        is_padded = isinstance(model.input, kinds.Sequences)
        lengths = tensor.ivector("lengths") if is_padded else None
        known = shapes.compute_output_shapes(model)
        input_shapes = {
            name: (batch_size,) + known[read[0]] for name, read in shapes.list_inputs(model).items()
        }
        self._inputs = inputs
        self._context = call = TheanoContext(
            self._library, lengths, is_time_first(model), self._rates, input_shapes
        )
        values, self._seen = self._walk(call)
        self._result = self._loss(call, model.loss, values[model.layers[-1].name], values, labels)
        self.symbols = [symbol for symbol in (inputs, labels, lengths) if symbol is not None]

    def _walk(self, call):
        """Return what each layer gives, the example too, and (input, output) of each layer.

        What losses and callers read are sequences with the batch first, in any model; the pairs
        are as the layers have them.
        """
        reads, values, seen = shapes.list_inputs(self._model), {"input": self._inputs}, {}
        for layer, function in self._steps:
            read = [values[name] for name in reads[layer.name]]
            values[layer.name] = function(call, layer, self._weights[layer.name], *read)
            seen[layer.name] = (read[0], values[layer.name])
        turned = {
            name: batch_first(call, value) if value.ndim == 3 else value
            for name, value in values.items()
        }
        return turned, seen

    def _draw_labels(self):
        tensor = self._library.tensor
        if isinstance(self._model.loss, kinds.StepCrossEntropy):
            return tensor.imatrix("labels")
        return tensor.ivector("labels") if self._model.classes else None

    def _dropouts(self):
        return [layer for layer in self._model.layers if isinstance(layer, kinds.Dropout)]


def _make_statistics(library, scale):
    """Return a running mean and a running variance for each channel, as shared variables."""
    channels = scale.get_value(borrow=True)
    return tuple(library.root.shared(numpy.ones_like(channels)) for _ in range(2))


def _inward(layer, array):
    """Convert from the canonical layout: matrices are (in, out), except tables of vectors."""
    if array.ndim == 2 and not isinstance(layer, TABLES):
        return numpy.ascontiguousarray(array.T)
    return array


def _outward(layer, array):
    if array.ndim == 2 and not isinstance(layer, TABLES):
        return array.T
    return array
