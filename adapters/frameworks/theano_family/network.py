"""A model's graph: from the symbols of a batch to loss, gradients and dropout outputs."""

import numpy

from velodrome.adapters.frameworks.graph import find_entry, locate_parameters
from velodrome.adapters.frameworks.theano_family.library import TheanoContext
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

IMAGES, VECTORS, TOKENS = "tensor4", "matrix", "lmatrix"


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
        self._rates = {
            layer.name: library.root.shared(numpy.float32(0), name=layer.name)
            for layer in self._dropouts()
        }

    def assign(self, key, values):
        """Give a trained parameter other values, canonical layout."""
        for name, shared, layer in self._trained:
            if name == key:
                shared.set_value(_inward(layer, values))

    def set_dropout(self, active):
        for layer in self._dropouts():
            self._rates[layer.name].set_value(numpy.float32(layer.rate if active else 0))

    def forward(self):
        """Return [loss], or [output] of a model without a loss."""
        return [self._result]

    def gradient(self):
        """Return [loss, then the gradient of each trained parameter]."""
        shared = [variable for _, variable, _ in self._trained]
        return [self._result] + self._library.root.grad(self._result, shared)

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
        tensor = self._library.tensor
        inputs = getattr(tensor, _kind_of_input(self._model))("inputs")
        labels = tensor.ivector("labels") if self._model.classes else None
        lengths = tensor.ivector("lengths") if _kind_of_input(self._model) == TOKENS else None
        reads, values, self._seen = shapes.list_inputs(self._model), {"input": inputs}, {}
        known = shapes.compute_output_shapes(self._model)
        input_shapes = {name: (batch_size,) + known[read[0]] for name, read in reads.items()}
        call = TheanoContext(self._library, lengths, self._rates, input_shapes)
        for layer, function in self._steps:
            read = [values[name] for name in reads[layer.name]]
            values[layer.name] = function(call, layer, self._weights[layer.name], *read)
            self._seen[layer.name] = (read[0], values[layer.name])
        output = values[self._model.layers[-1].name]
        self._result = self._loss(call, self._model.loss, output, values, labels)
        self.symbols = [symbol for symbol in (inputs, labels, lengths) if symbol is not None]

    def _dropouts(self):
        return [layer for layer in self._model.layers if isinstance(layer, kinds.Dropout)]


def _kind_of_input(model):
    if isinstance(model.input, kinds.Images):
        return IMAGES
    return VECTORS if isinstance(model.input, kinds.Vectors) else TOKENS


def _inward(layer, array):
    """Convert from the canonical layout: matrices are (in, out), except an embedding's."""
    if array.ndim == 2 and not isinstance(layer, kinds.Embedding):
        return numpy.ascontiguousarray(array.T)
    return array


def _outward(layer, array):
    if array.ndim == 2 and not isinstance(layer, kinds.Embedding):
        return array.T
    return array
