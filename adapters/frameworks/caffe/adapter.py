"""Runs models in Caffe: nets for training, for evaluation and in a solver, with the same weights.

A net is described by text and its layers work in blobs that it owns, so that what a call returns
is the net itself. Parameters' gradients add up until they are cleared, which is part of the call.
How many threads OpenBLAS takes it reads when it is loaded; Caffe's own loops are serial.
"""

import caffe
import numpy

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.caffe.attention import NEVER
from velodrome.adapters.frameworks.caffe.layers import STATISTICS
from velodrome.adapters.frameworks.caffe.nets import NetSet, open_net
from velodrome.adapters.frameworks.caffe.network import (
    EVALUATION,
    IN_PLACE,
    LEFT_OUT,
    SEEN,
    SEQUENCES,
    NetUse,
    require_expressible,
)
from velodrome.adapters.frameworks.caffe.training import Trainer
from velodrome.adapters.frameworks.caffe.weights import NetWeights
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
    """A handle is the net that ran, a PlacedNet."""

    no_loader = "Caffe's Data layer reads only LMDB and LevelDB, of raw or OpenCV-encoded pixels"

    def __init__(self, model, variant, device, threads, dtype):
        """threads: Caffe has no call for it; the agent sets OPENBLAS_NUM_THREADS."""
        require_options("caffe", (variant, VARIANTS), (device, ("cpu",)), (dtype, ("float32",)))
        caffe.set_mode_cpu()
        self._model = model
        self._gives_steps = len(shapes.compute_output_shapes(model)[model.layers[-1].name]) == 2
        self._drops = any(isinstance(layer, kinds.Dropout) for layer in model.layers)
        self._dropout = LEFT_OUT
        self._training = self._evaluation = self._trainer = None

    @staticmethod
    def version():
        return caffe.__version__

    def build(self, weights):
        """Keep the weights; load makes the nets, since a net has a fixed shape."""
        require_expressible(self._model)
        self._weights = NetWeights(self._model, weights)

    def load(self, batches):
        """Load the batches; later ones of the same shapes use the existing nets."""
        self._loaded, self._batches = batches, [self._arrays(batch) for batch in batches]
        if self._training is None:
            self._training = self._make_training_nets()
        else:
            self._training.load(self._batches)
        if self._evaluation is not None:
            self._evaluation.load(self._evaluated_batches())
        if self._trainer is not None:
            self._trainer.load(self._longest_batches())

    def set_parameter(self, name, values):
        self._weights.assign(name, values)

    def set_dropout(self, active):
        wanted = IN_PLACE if active else LEFT_OUT
        if wanted != self._dropout:
            self._dropout = wanted
            if self._drops:
                before, self._training = self._training, self._make_training_nets()
                before.leave()
                if self._trainer is not None:
                    self._make_trainer()

    def forward(self, index):
        own = self._find(self._training, index)
        own.net.forward()
        return own

    def gradient(self, index):
        own = self._find(self._training, index)
        own.net.clear_param_diffs()
        own.net.forward()
        own.net.backward()
        return own

    def start_inference(self, statistics):
        if self._evaluation is None:
            self._evaluation = NetSet(self._model, self._weights, EVALUATION)
            self._evaluation.load(self._evaluated_batches())
        for own in self._evaluation.nets.values():
            _set_statistics(own.net, self._model, statistics)

    def inference(self, index):
        own = self._find(self._evaluation, index)
        own.net.forward()
        return own

    def end_inference(self):
        """Do nothing: forward and gradient run in other nets."""

    def start_training(self, optimizer, weights):
        """Make a solver, unless there is one that has taken no step: its state cannot be reset."""
        if optimizer != "sgd":
            raise contract.Unsupported(
                "Caffe's AdamSolver has no decoupled weight decay, which {} has".format(optimizer)
            )
        for name in self._weights.trained:
            self._weights.assign(name, weights[name])
        if self._trainer is None or self._trainer.has_moved:
            self._make_trainer()

    def keep_gradients(self, index):
        self._kept = self.gradient(index)
        self._gradients = {
            name: numpy.array(self._kept.parameter(name).diff) for name in self._weights.trained
        }
        return self._kept

    def update(self):
        self._trainer.update(self._gradients)
        return self._kept

    def step(self, index):
        return self._trainer.step(index)

    def parameters(self):
        for name in self._weights.trained:
            blob = self._trainer.own.parameter(name)
            yield name, self._weights.convert(name, blob.data)

    def synchronize(self):
        """Return at once: a call returns when all is computed."""

    def loss(self, handle):
        return float(handle.result("loss"))

    def gradients(self, handle):
        for name in self._weights.trained:
            yield name, self._weights.convert(name, handle.parameter(name).diff)

    def output(self, handle):
        found = handle.result(self._model.layers[-1].name)
        return found.swapaxes(0, 1) if self._gives_steps else found

    def kept_shares(self):
        own = open_net(self._model, self._batches[0], NetUse(SEEN, label="seen"))
        self._weights.fill(own)
        own.give(self._batches[0])
        own.net.forward()
        reads = shapes.list_inputs(self._model)
        return {
            layer.name: contract.measure_kept_share(
                own.result(reads[layer.name][0]), own.result(layer.name)
            )
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
        if self._trainer is not None:
            yield "an update copies the gradients in before, since Caffe's solver overwrites them"
        if self._trainer is not None and isinstance(self._model.input, kinds.Sequences):
            yield "a step pads its batch to the longest of all: a solver's net has one shape"
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

    def _make_training_nets(self):
        made = NetSet(self._model, self._weights, NetUse(self._dropout))
        made.load(self._batches)
        return made

    def _make_trainer(self):
        before, batches = self._trainer, self._longest_batches()
        self._trainer = Trainer(self._model, self._weights, self._dropout, batches)
        if before is not None:
            self._weights.leave([before.own])

    def _find(self, nets, index):
        """Return the batch's net, with the values of all steps so far."""
        if self._trainer is not None:
            self._trainer.catch_up()
        return nets.find(index)

    def _evaluated_batches(self):
        return [
            {name: array for name, array in arrays.items() if name != "label"}
            for arrays in self._batches
        ]

    def _longest_batches(self):
        """Return the arrays of all batches, with sequences padded to the longest one of all."""
        if not isinstance(self._model.input, kinds.Sequences):
            return self._batches
        longest = max(batch.inputs.shape[1] for batch in self._loaded)
        return [self._arrays(_pad(batch, longest)) for batch in self._loaded]

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


def _pad(batch, steps):
    """Pad tokens (batch, time) to so many steps."""
    missing = steps - batch.inputs.shape[1]
    return batch._replace(inputs=numpy.pad(batch.inputs, ((0, 0), (0, missing)), "constant"))


def _set_statistics(net, model, statistics):
    """Set running means and variances, each a sum over one batch as Caffe has it."""
    for layer in model.layers:
        if isinstance(layer, kinds.BatchNorm):
            mean, variance, count = net.params[layer.name + STATISTICS]
            mean.data[...] = statistics[layer.name + ".mean"]
            variance.data[...] = statistics[layer.name + ".variance"]
            count.data[...] = 1
