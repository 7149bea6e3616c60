"""A model's graph as a Chain: a call gives the loss of a batch."""

import chainer
import chainer.functions as F
import numpy

from velodrome.adapters.frameworks.chainer.operations import MASKED, on_host, parameters
from velodrome.adapters.frameworks.graph import find_entry, list_loss_inputs
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

LABELS = "(labels)"  # no layer has this name
LISTED = (kinds.Lstm, kinds.Gru, kinds.MeanOverTime)  # these read lists


class Network(chainer.Chain):
    """layers, losses: as in velodrome.adapters.frameworks.chainer.operations.

    trained: by `layer.role`, lists of the parameters that form it, once it is filled. Unsupported
    for a kind without an entry.
    """

    def __init__(self, model, layers, losses):
        super(Network, self).__init__()
        self._model = model
        self._reads, self._needed = shapes.list_inputs(model), shapes.find_gradient_flow(model)
        outputs = shapes.compute_output_shapes(model)
        self.steps = [
            (
                layer,
                find_entry(layers, layer, "chainer")(layer, outputs[self._reads[layer.name][0]]),
            )
            for layer in model.layers
        ]
        self._loss = find_entry(losses, model.loss, "chainer")
        for layer, step in self.steps:
            if isinstance(step, chainer.Link):
                self.add_link(layer.name, step)
            if isinstance(layer, kinds.TiedLinear):
                step.embedding = self[layer.embedding]

    def fill(self, weights):
        """Set canonical arrays by `layer.role`."""
        self.trained = {}
        for entry in shapes.list_parameters(self._model):
            found = parameters(self[entry.layer])[entry.role]
            for parameter, array in zip(found, numpy.split(weights[entry.name], len(found))):
                parameter.array[...] = array
            if not entry.frozen:
                self.trained[entry.name] = found

    def assign(self, name, values, device):
        """Give a trained parameter other values, canonical layout."""
        found = self.trained[name]
        for parameter, array in zip(found, numpy.split(values, len(found))):
            parameter.array = _copy_to(device, array)

    def set_statistics(self, statistics, device):
        """Set the running mean and variance of each batch normalization, by `layer.role`."""
        for layer, step in self.steps:
            if isinstance(layer, kinds.BatchNorm):
                step.avg_mean = _copy_to(device, statistics[layer.name + ".mean"])
                step.avg_var = _copy_to(device, statistics[layer.name + ".variance"])

    def gradients(self):
        """Return the gradients of a backward pass by `layer.role`, as lists of arrays in memory."""
        return {
            name: [parameter.grad for parameter in found] for name, found in self.trained.items()
        }

    @staticmethod
    def canonical(parts):
        """Return what forms a gradient or a parameter as one array on the host, a copy."""
        return numpy.concatenate([on_host(part) for part in parts])

    def walk(self, inputs, labels, lengths):
        """Yield (layer, its inputs, its output) for each layer, then for the loss as layer None."""
        values = {"input": inputs, LABELS: labels}
        for found in self._walk_layers(values, lengths):
            yield found
        read = [values[name] for name in list_loss_inputs(self._model, LABELS)]
        yield None, read, self._loss(*read)

    def infer(self, inputs, lengths):
        """Return the last layer's output."""
        return list(self._walk_layers({"input": inputs}, lengths))[-1][-1]

    def _walk_layers(self, values, lengths):
        for layer, step in self.steps:
            read = [values[name] for name in self._reads[layer.name]]
            if self._needed[layer.name]:
                values[layer.name] = _call(layer, step, read, lengths)
            else:
                with chainer.no_backprop_mode():
                    values[layer.name] = _call(layer, step, read, lengths)
            yield layer, read, values[layer.name]

    def forward(self, inputs, labels, lengths):
        return list(self.walk(inputs, labels, lengths))[-1][-1]


def _copy_to(device, array):
    """Return a copy on a device: to send alone may give the array itself, and updates change it."""
    return device.send(numpy.array(array))


def _call(layer, step, read, lengths):
    """Return a layer's output. Lists, of recurrent layers, are padded for others and cut again."""
    if isinstance(layer, MASKED):
        read = read + [lengths]
    if not isinstance(read[0], list) or isinstance(layer, LISTED):
        return step(*read)
    padded = [F.pad_sequence(value) if isinstance(value, list) else value for value in read]
    found = step(*padded)
    if found.ndim < 3:
        return found
    return [own[:length] for own, length in zip(F.separate(found, axis=0), lengths)]
