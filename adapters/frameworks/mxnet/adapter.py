"""Adapter for Apache MXNet (Gluon): builds a model, computes its loss, output and gradients.

`forward` is the network's loss with dropout active and nothing recorded; `gradient` records it and
goes backward from it, which writes the gradients over those of the call before. `inference` is the
network without its loss, not in training mode; `step` is `gradient` and MXNet's update.
"""

import os

import mxnet
from mxnet import autograd, nd

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.graph import require_options
from velodrome.adapters.frameworks.mxnet import mixed_precision
from velodrome.adapters.frameworks.mxnet.blocks import BLOCKS, LOSSES
from velodrome.adapters.frameworks.mxnet.network import InferenceBlock, Network
from velodrome.adapters.frameworks.mxnet.optimizers import Training
from velodrome.adapters.models import layers as kinds

# The engine runs what the frontend asks for: in place, or queued for threads of its own.
ENGINES = {
    "hybrid": "NaiveEngine",
    "imperative": "NaiveEngine",
    "threaded": "ThreadedEnginePerDevice",
}


class Adapter(contract.Adapter):
    """A handle is (loss or output, gradients by name). OMP_NUM_THREADS sets the threads."""

    blocks, losses = BLOCKS, LOSSES
    early_epsilon = True

    def __init__(self, model, variant, device, threads, dtype):
        require_options(
            "mxnet", (variant, tuple(ENGINES)), (device, ("cpu",)), (dtype, ("float32", "bfloat16"))
        )
        # Read when the first operation runs, not at import.
        os.environ["MXNET_ENGINE_TYPE"] = ENGINES[variant]
        self._model, self._variant = model, variant
        self._dtype = dtype
        self._training = None
        if dtype == "bfloat16":
            mixed_precision.turn_on(model)

    @staticmethod
    def version():
        return mxnet.__version__

    def build(self, weights):
        self._network = Network(self._model, self.blocks, self.losses)
        self._network.fill(weights)
        self._gradients = self._network.gradients()
        self._inference = InferenceBlock(self._network)

    def load(self, batches):
        self._batches = tuple(_load_batch(batch) for batch in batches)

    def set_parameter(self, name, values):
        self._network.assign(name, values)

    def set_dropout(self, active):
        """Set the rate of dropout. The mode cannot switch it: without training, MXNet's kernels for
        pooling and LRN keep nothing for the backward pass, and run it all the same.
        """
        self._active = active
        for layer, block in self._network.steps:
            if isinstance(layer, kinds.Dropout):
                block._rate = layer.rate if active else 0.0
        self._train_mode = self._has(kinds.BatchNorm) or (active and self._has(kinds.Dropout))
        if self._variant != "imperative" and not self._has(kinds.Duplicate):
            self._hybridize()

    def forward(self, index):
        with autograd.pause(train_mode=self._train_mode):
            return self._network(*self._batches[index]), {}

    def gradient(self, index):
        with autograd.record():
            loss = self._network(*self._batches[index])
        loss.backward()
        return loss, self._gradients

    def start_inference(self, statistics):
        self._network.set_statistics(statistics)

    def inference(self, index):
        inputs, _, lengths = self._batches[index]
        with autograd.pause(train_mode=False):
            return self._inference(inputs, lengths), {}

    def end_inference(self):
        """Do nothing: each call says itself in which mode it runs."""

    def start_training(self, optimizer, weights):
        for name in self._gradients:
            self._network.assign(name, weights[name])
        self._training = Training(optimizer, self._network.list_trained())

    def keep_gradients(self, index):
        return self.gradient(index)

    def update(self):
        self._training.update()

    def step(self, index):
        handle = self.gradient(index)
        self._training.update()
        return handle

    def parameters(self):
        for name, values in self._network.values().items():
            yield name, self._network.canonical(name, values)

    def synchronize(self):
        nd.waitall()

    def loss(self, handle):
        return float(handle[0].asscalar())

    def gradients(self, handle):
        for name, gradient in handle[1].items():
            yield name, self._network.canonical(name, gradient)

    def output(self, handle):
        output = nd.amp_cast(handle[0], dtype="float32").asnumpy()
        return output.swapaxes(0, 1) if output.ndim == 3 else output  # time is first here

    def kept_shares(self):
        shares, before = {}, self._active
        self.set_dropout(True)
        with autograd.train_mode():
            for layer, read, output in self._network.walk(*self._batches[0]):
                if isinstance(layer, kinds.Dropout):
                    pair = read[0].asnumpy(), output.asnumpy()
                    shares[layer.name] = contract.measure_kept_share(*pair)
        self.set_dropout(before)
        return shares

    def kernels(self):
        """Return the instruction sets of its own loops, from its features, and oneDNN."""
        features = mxnet.runtime.Features() if hasattr(mxnet, "runtime") else {}
        on = [name for name, feature in features.items() if feature.enabled]
        sets = [name[len("CPU_") :] for name in on if name.startswith("CPU_")]
        via = "via mxnet {}".format(mxnet.__version__)
        onednn = ["onednn " + via] if "MKLDNN" in on or "ONEDNN" in on else []
        own = ["mxnet {} {}".format(sets[-1], via)] if sets else []
        return tuple(onednn + own)

    def notes(self):
        return tuple(self._notes())

    def _hybridize(self):
        """Let the next call make each graph anew, with memory planned once.

        Sequences have many lengths: their memory is planned without shapes. foreach loses its steps
        in planned memory.
        """
        static = not self._has(kinds.Loop)
        shaped = static and not isinstance(self._model.input, kinds.Sequences)
        self._inference.hybridize(static_alloc=static, static_shape=shaped)

    def _notes(self):
        yield "engine: {}".format(ENGINES[self._variant])
        if self._dtype == "bfloat16" and self._has(kinds.Attention):
            yield "MXNet's mixed precision leaves the products of queries and keys in float32"
        if self._has(kinds.Lstm) or self._has(kinds.Gru):
            yield "the recurrent layer runs through the padding, which the mean leaves out"
        blocks = (block for layer, block in self._network.steps if type(layer) is kinds.Attention)
        for how in sorted({block.HOW for block in blocks}):
            yield format_note(kinds.Attention, how)
        if self._has(kinds.Gelu):
            yield format_note(kinds.Gelu, "in its tanh form, of products and a sigmoid")
        if self._has(kinds.RmsNorm):
            yield format_note(kinds.RmsNorm, "of a mean of squares, rsqrt and products")
        if self._training is not None:
            yield self._training.how
        if self._has(kinds.Duplicate):
            yield "copies into memory that every call reuses, not hybridized"

    def _has(self, kind):
        return any(isinstance(layer, kind) for layer in self._model.layers)


def _load_batch(batch):
    """Return Network's arguments: time first, lengths as divisors, None if missing."""
    has_steps = batch.inputs.dtype.kind == "i" or batch.inputs.ndim == 3
    inputs = batch.inputs.swapaxes(0, 1) if has_steps else batch.inputs
    labels = None if batch.labels is None else batch.labels.T
    return tuple(
        None if array is None else nd.array(array, dtype=dtype)
        for array, dtype in (
            (inputs, inputs.dtype),
            (labels, "int32"),
            (batch.lengths, "float32"),
        )
    )
