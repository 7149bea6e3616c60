"""A model as a net of Caffe: its text, and the places of its parameters."""

from typing import NamedTuple

import caffe
from caffe import layers as L
from caffe import params as P

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.caffe.layers import LAYERS
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

# Dropout: left out, as its users have it, or with what it reads kept to be seen.
LEFT_OUT, IN_PLACE, SEEN = "left out", "in place", "seen"


class NetUse(NamedTuple):
    """The use that a net is made for. dropout: a word above. phase: caffe.TRAIN or caffe.TEST.

    label: ends the names of layers whose weights nets of another use cannot share.
    """

    dropout: str
    phase: int = caffe.TRAIN
    label: str = ""


EVALUATION = NetUse(IN_PLACE, caffe.TEST, "evaluated")  # where a dropout layer does nothing
# Their own output is no part of their backward pass, so that what follows may overwrite it.
FORGETS = (kinds.Conv, kinds.DilatedConv, kinds.TransposedConv, kinds.Linear, kinds.MaxPool)
FORGETS += (kinds.AvgPool, kinds.BatchNorm, kinds.Add, kinds.StepLinear)
SEQUENCES = (kinds.Sequences, kinds.Tokens, kinds.States)
# By role, or kind and role: the layer, of the model's layer and the steps, and the blob in it.
PLACES = {
    "weight": ("{}", 0),
    "scale": ("{}", 0),
    "bias": ("{}", 1),
    (kinds.Lstm, "weight_input"): ("{}_{}", 0),
    (kinds.Lstm, "bias"): ("{}_{}", 1),
    (kinds.Lstm, "weight_hidden"): ("{}_{}", 2),
    (kinds.Gru, "weight_input"): ("{}_{}", 0),
    (kinds.Gru, "bias"): ("{}_{}", 1),
    (kinds.Gru, "weight_hidden"): ("{}_{}_0", 0),
    (kinds.Gru, "bias_hidden"): ("{}_{}_0", 1),
    (kinds.Loop, "weight"): ("{}_0", 0),
    (kinds.Loop, "bias"): ("{}_0", 1),
    (kinds.Attention, "weight_input"): ("{}_input", 0),
    (kinds.Attention, "weight_output"): ("{}", 0),
    (kinds.Attention, "bias_input"): ("{}_input", 1),
    (kinds.Attention, "bias_output"): ("{}", 1),
    (kinds.LearnedPositions, "weight"): ("{}_table", 0),
    (kinds.ClassToken, "weight"): ("{}_step", 0),
}
MOST_VALUES = 2**31  # of a blob
GATES_OF_CAFFE = (0, 1, 3, 2)  # i, f, o, g, of ours: its own inverse


def require_expressible(model):
    """Raise Unsupported, which names the first part that Caffe has no layer for."""
    found, reads = shapes.compute_output_shapes(model), shapes.list_inputs(model)
    for layer in model.layers:
        if type(layer) not in LAYERS:
            raise Unsupported("the caffe adapter has no {}".format(type(layer).__name__))
        if isinstance(layer, kinds.Attention):
            steps, width = found[reads[layer.name][0]]
            if steps * steps * width >= MOST_VALUES:
                raise Unsupported(
                    "Caffe has no product of two blobs, and attention to {} steps, composed of all "
                    "pairs of steps, takes more than the 2^31 values of one".format(steps)
                )


class Net(object):
    """A net's text under construction. inputs: the shape of each array of a call, by its name.

    Sequences are (steps, examples, n). use: a NetUse; in evaluation there is no loss. constants:
    arrays that layers read in every call, by name.
    """

    def __init__(self, model, inputs, use):
        self.use, self.evaluates = use, use.phase == caffe.TEST
        self.constants = {}
        self._model = model
        self._reads, self._shapes = shapes.list_inputs(model), shapes.compute_output_shapes(model)
        self._kinds = {layer.name: type(layer) for layer in model.layers}
        self.spec = caffe.NetSpec()
        for name, shape in sorted(inputs.items()):
            self.spec[name] = L.Input(shape=dict(dim=list(shape)))
        self.steps, self.examples = inputs["data"][:2]  # of sequences
        self.label = "{}{}".format(self.steps, use.label)
        if not isinstance(model.input, SEQUENCES):
            self.examples = self.steps
        self._tops = {"input": self.spec.data}
        self.blobs = {"input": "data"}  # where each layer leaves what it gives
        for layer in model.layers:
            self._add(layer)
        if not self.evaluates:
            self._add_loss(model.layers[-1].name)

    def text(self):
        return str(self.spec.to_proto())

    def in_place(self, layer):
        """Return True if no other layer needs this layer's input."""
        (before,) = self._reads[layer.name]
        readers = [name for name, read in self._reads.items() if before in read]
        target = getattr(self._model.loss, "target", "")
        if len(readers) > 1 or target == before:
            return False
        kind = self._kinds.get(before)
        if isinstance(layer, kinds.Dropout):
            return self.use.dropout == IN_PLACE and (kind in FORGETS or kind is kinds.Relu)
        return kind in FORGETS

    def constant(self, name, array):
        """Return the top that holds a constant, made at its first use."""
        if name not in self.constants:
            self.constants[name] = array
            self.spec[name] = L.Input(shape=dict(dim=list(array.shape)))
        return self.spec[name]

    def is_tied(self, layer):
        """Return True if another layer uses the weight of this one."""
        return any(getattr(other, "embedding", "") == layer.name for other in self._model.layers)

    def count_steps(self, layer):
        """Return the number of steps before a layer on sequences."""
        if isinstance(self._model.input, kinds.Sequences):
            return self.steps
        return self._shapes[self._reads[layer.name][0]][0]

    def shape(self, layer):
        """Return the shape of an example behind the layer; its steps are not those of a batch."""
        return self._shapes[layer.name]

    def width(self, layer):
        """Return the number of values of a step, or of an example, behind the layer."""
        return self._shapes[layer.name][-1]

    def _add(self, layer):
        bottoms = [self._tops[name] for name in self._reads[layer.name]]
        given = bottoms if isinstance(layer, (kinds.Add, kinds.Multiply)) else bottoms[0]
        top = LAYERS[type(layer)](layer, given, self)
        self._tops[layer.name] = top
        self.blobs[layer.name] = self.blobs[self._reads[layer.name][0]]
        if top is not given:
            self.spec[layer.name] = top
            if not top.fn.in_place:
                self.blobs[layer.name] = layer.name

    def _add_loss(self, last):
        loss, output = self._model.loss, self._tops[last]
        if isinstance(loss, kinds.SoftmaxCrossEntropy):
            self.spec.loss = L.SoftmaxWithLoss(output, self.spec.label)
        elif isinstance(loss, kinds.StepCrossEntropy):
            self.spec.loss = L.SoftmaxWithLoss(output, self.spec.label, softmax_param=dict(axis=2))
        elif isinstance(loss, kinds.SquaredError) and loss.target == "zero":
            half = 0.5 / self.examples
            self.spec.loss = L.Reduction(
                output, operation=P.Reduction.SUMSQ, coeff=half, loss_weight=1
            )
        elif isinstance(loss, kinds.SquaredError):
            self.spec.loss = L.EuclideanLoss(output, self._tops[loss.target])


def find_places(model, label):
    """Map each parameter to its layer in Caffe and the number of its blob.

    label: of the net.
    """
    found = {}
    of = {layer.name: type(layer) for layer in model.layers}
    for entry in shapes.list_parameters(model):
        name, number = PLACES.get((of[entry.layer], entry.role)) or PLACES[entry.role]
        found[entry.name] = (name.format(entry.layer, label), number)
    return found


def reorder(model, entry, array):
    """Convert between the canonical order of an LSTM's gates and Caffe's, in either direction."""
    layer = next(layer for layer in model.layers if layer.name == entry.layer)
    if not isinstance(layer, kinds.Lstm):
        return array
    gates = array.reshape((4, layer.units) + array.shape[1:])
    return gates[list(GATES_OF_CAFFE)].reshape(array.shape)
