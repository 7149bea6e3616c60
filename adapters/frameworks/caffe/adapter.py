"""Runs models in Caffe: a net per batch, or per shape of sequences, all with the same weights.

Batches of one shape have a net each, in whose blobs they lie before the clock starts; only tokens,
which are few bytes in many batches, are copied into the net of their length by each call.

A net is described by text and its layers work in blobs that it owns, so that what a call returns
is the net itself. Parameters' gradients add up until they are cleared, which is part of the call.
How many threads OpenBLAS takes it reads when it is loaded; Caffe's own loops are serial.
"""

import tempfile

import caffe
import numpy

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.caffe.attention import NEVER
from velodrome.adapters.frameworks.caffe.network import (
    IN_PLACE,
    LEFT_OUT,
    SEEN,
    SEQUENCES,
    Net,
    places,
    reorder,
    require_expressible,
)
from velodrome.adapters.frameworks.graph import require_options
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

VARIANTS = ("openblas",)
COMPOSED = {
    kinds.LayerNorm: "of batch normalization with a channel for each step, and a scale",
    kinds.RmsNorm: "of a sum of squares, a power and two scales",
    kinds.Gelu: "of powers, a tanh and products",
    kinds.Patches: "of a slice for each position, put one after another",
}


class Adapter(contract.Adapter):
    """A handle is the net that ran."""

    def __init__(self, model, variant, device, threads, dtype):
        """threads: Caffe has no call for it; the agent sets OPENBLAS_NUM_THREADS."""
        require_options("caffe", (variant, VARIANTS), (device, ("cpu",)), (dtype, ("float32",)))
        caffe.set_mode_cpu()
        self._model = model
        self._drops = any(isinstance(layer, kinds.Dropout) for layer in model.layers)
        self._dropout = LEFT_OUT
        self._nets, self._holds = {}, {}

    @staticmethod
    def version():
        return caffe.__version__

    def build(self, weights):
        """Keep the weights; load makes the nets, since a net has a fixed shape."""
        require_expressible(self._model)
        self._weights = {
            entry.name: reorder(self._model, entry, weights[entry.name])
            for entry in shapes.list_parameters(self._model)
        }

    def load(self, batches):
        """Load the batches; later ones of the same shapes use the existing nets."""
        self._batches, self._holds = [self._arrays(batch) for batch in batches], {}
        if not self._nets:
            self._make()
        for index in range(len(self._batches)):
            self._net_of(index)

    def set_parameter(self, name, values):
        (entry,) = [own for own in shapes.list_parameters(self._model) if own.name == name]
        self._weights[name] = reorder(self._model, entry, values)
        for net in self._nets.values():
            self._put(net, name)

    def set_dropout(self, active):
        wanted = IN_PLACE if active else LEFT_OUT
        if wanted != self._dropout:
            self._dropout = wanted
            if self._drops:
                self._make()

    def forward(self, index):
        net = self._net_of(index)
        net.forward()
        return net

    def gradient(self, index):
        net = self._net_of(index)
        net.clear_param_diffs()
        net.forward()
        net.backward()
        return net

    def synchronize(self):
        """Return at once: a call returns when all is computed."""

    def loss(self, handle):
        return float(handle.blobs["loss"].data)

    def gradients(self, handle):
        found = places(self._model, _steps(handle))
        for entry in shapes.list_trained(self._model):
            name, number = found[entry.name]
            gradient = handle.params[name][number].diff.reshape(entry.shape).copy()
            yield entry.name, reorder(self._model, entry, gradient)

    def output(self, handle):
        return handle.blobs[self._blobs[self._model.layers[-1].name]].data

    def kept_shares(self):
        net = self._open(self._batches[0], SEEN)
        self._fill(net, like=next(iter(self._nets.values())))
        _give(net, self._batches[0])
        net.forward()
        reads = shapes.list_inputs(self._model)
        blob = {name: net.blobs[own].data for name, own in self._blobs.items()}
        return {
            layer.name: contract.measure_kept_share(blob[reads[layer.name][0]], blob[layer.name])
            for layer in self._model.layers
            if isinstance(layer, kinds.Dropout)
        }

    def notes(self):
        return tuple(self._notes())

    def _notes(self):
        found = {type(layer) for layer in self._model.layers}
        if kinds.Lstm in found:
            yield "the LSTM is unrolled, in a net per sequence length; padding is computed too"
        if kinds.MeanOverTime in found:
            yield "the mean over time is a weighting and an average pooling"
        if kinds.Dropout in found:
            yield "verified in a net without its dropout layers, with the same weights"
        if kinds.Duplicate in found:
            yield "the copy is a Power layer of power 1"
        if kinds.Loop in found:
            yield format_note(kinds.Loop, "unrolled, in layers that share parameters")
        if kinds.Gru in found:
            yield format_note(kinds.Gru, "unrolled, of inner products and elementwise layers")
        if kinds.Attention in found:
            yield format_note(kinds.Attention, "of tiled products and their sums")
        for kind in (kind for kind in COMPOSED if kind in found):
            yield format_note(kind, COMPOSED[kind])

    def _make(self):
        """Make the nets of all batches, with the weights of earlier nets, if any."""
        like = next(iter(self._nets.values()), None)
        self._nets, self._holds = {}, {}
        for index, arrays in enumerate(self._batches):
            key = self._key(index)
            if key not in self._nets:
                self._nets[key] = self._open(arrays, self._dropout)
                self._fill(self._nets[key], like)
                like = like or self._nets[key]

    def _open(self, arrays, dropout):
        """Make a net, through a file: Caffe reads nets only from files."""
        inputs = {name: array.shape for name, array in arrays.items()}
        text = Net(self._model, inputs, dropout)
        self._blobs = text.blobs
        with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
            file.write(text.text())
            file.flush()
            net = caffe.Net(file.name, caffe.TRAIN)
        _give(net, text.constants)
        return net

    def _fill(self, net, like):
        """Share the weights of a similar net; copy those of layers that it does not have."""
        if like:
            net.share_with(like)
        for name, (layer, _) in places(self._model, _steps(net)).items():
            if not (like and layer in like.params):
                self._put(net, name)

    def _put(self, net, name):
        layer, number = places(self._model, _steps(net))[name]
        blob = net.params[layer][number]
        blob.data[...] = self._weights[name].reshape(blob.data.shape)

    def _net_of(self, index):
        """Return the net with the batch in its blobs; it stays until another one needs the net."""
        key = self._key(index)
        net = self._nets[key]
        if self._holds.get(key) != index:
            _give(net, self._batches[index])
            self._holds[key] = index
        return net

    def _key(self, index):
        """Return the key of the batch's net: its shape, or its number without sequences."""
        if isinstance(self._model.input, kinds.Sequences):
            return self._batches[index]["data"].shape
        return index

    def _arrays(self, batch):
        """Return a net's arrays by name, all float32. Sequences: time first."""
        inputs = batch.inputs
        if isinstance(self._model.input, SEQUENCES):
            inputs = inputs.swapaxes(0, 1)
        arrays = {"data": inputs}
        if batch.lengths is not None:
            arrays = _sequences(inputs, batch.lengths)
        if batch.labels is not None:
            arrays["label"] = batch.labels.T
        return {
            name: numpy.ascontiguousarray(array, dtype=numpy.float32)
            for name, array in arrays.items()
        }


def _sequences(tokens, lengths):
    """Compute the inputs of sequence layers: tokens, continuation, mean weights, softmax mask."""
    steps = numpy.arange(len(tokens))[:, None]
    goes_on = numpy.broadcast_to(steps > 0, tokens.shape)
    share = numpy.where(steps < lengths, len(tokens) / lengths, 0.0)
    unseen = numpy.where(steps < lengths, 0.0, NEVER)
    return {"data": tokens, "cont": goes_on, "share": share, "unseen": unseen}


def _steps(net):
    """Return the number of steps of a sequence: time comes first."""
    return net.blobs["data"].shape[0]


def _give(net, arrays):
    for name, array in arrays.items():
        net.blobs[name].data[...] = array
