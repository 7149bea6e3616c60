"""Apache MXNet as an adapter, by Gluon.

`forward` is the network's loss with dropout active and nothing recorded; `gradient` records it and
goes backward from it, which writes the gradients over those of the call before.
"""

import os

import mxnet
from mxnet import autograd, nd

from velodrome.adapters import contract
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.mxnet.blocks import BLOCKS, LOSSES
from velodrome.adapters.mxnet.network import Network

# The engine runs what the frontend asks for: in place, or queued for threads of its own.
ENGINES = {
    "hybrid": "NaiveEngine",
    "imperative": "NaiveEngine",
    "threaded": "ThreadedEnginePerDevice",
}


class Adapter(contract.Adapter):
    """A handle is (loss or output, gradients by name). Threads come by OMP_NUM_THREADS alone."""

    blocks, losses = BLOCKS, LOSSES

    def __init__(self, model, variant, device, threads, dtype):
        for word, known in ((variant, tuple(ENGINES)), (device, ("cpu",)), (dtype, ("float32",))):
            if word not in known:
                raise contract.Unsupported(
                    "the mxnet adapter has no {!r}, only {}".format(word, ", ".join(known))
                )
        # Read when the first operation runs, not at import.
        os.environ["MXNET_ENGINE_TYPE"] = ENGINES[variant]
        self._model, self._variant = model, variant
        self._drops, self._normalizes = self._has(kinds.Dropout), self._has(kinds.BatchNorm)

    @staticmethod
    def version():
        return mxnet.__version__

    def build(self, weights):
        self._network = Network(self._model, self.blocks, self.losses)
        self._network.fill(weights)
        if self._variant != "imperative":
            # Memory is planned once; with sequences for each length anew, which is slower still
            # than to plan without shapes.
            self._network.hybridize(static_alloc=True, static_shape=not self._has_sequences())
        self._gradients = self._network.gradients()

    def load(self, batches):
        self._batches = tuple(_loaded(batch) for batch in batches)

    def set_dropout(self, active):
        """Gluon drops in training mode only, and so that is what is switched."""
        drops = self._drops and active
        self._forward_mode = drops or self._normalizes
        self._gradient_mode = drops or not self._drops

    def forward(self, index):
        with autograd.pause(train_mode=self._forward_mode):
            return self._network(*self._batches[index]), {}

    def gradient(self, index):
        with autograd.record(train_mode=self._gradient_mode):
            loss = self._network(*self._batches[index])
        loss.backward()
        return loss, self._gradients

    def synchronize(self):
        nd.waitall()

    def loss(self, handle):
        return float(handle[0].asscalar())

    def gradients(self, handle):
        for name, gradient in handle[1].items():
            yield name, self._network.canonical(name, gradient)

    def output(self, handle):
        return handle[0].asnumpy()

    def kept_shares(self):
        shares = {}
        with autograd.train_mode():
            for layer, read, output in self._network.walk(*self._batches[0]):
                if isinstance(layer, kinds.Dropout):
                    there = read[0].asnumpy() != 0
                    shares[layer.name] = float((output.asnumpy()[there] != 0).mean())
        return shares

    def notes(self):
        return tuple(self._notes())

    def _notes(self):
        yield "engine: {}".format(ENGINES[self._variant])
        if self._has(kinds.Lstm) or self._has(kinds.Gru):
            yield "the recurrent layer runs through the padding, which the mean leaves out"

    def _has(self, kind):
        return any(isinstance(layer, kind) for layer in self._model.layers)

    def _has_sequences(self):
        return isinstance(self._model.input, kinds.Sequences)


def _loaded(batch):
    """What Network takes: time first, lengths to divide by, and None for what there is not."""
    inputs = batch.inputs.T if batch.inputs.dtype.kind == "i" else batch.inputs
    return tuple(
        None if array is None else nd.array(array, dtype=dtype)
        for array, dtype in (
            (inputs, inputs.dtype),
            (batch.labels, "int32"),
            (batch.lengths, "float32"),
        )
    )
