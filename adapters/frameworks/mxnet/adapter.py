"""Adapter for Apache MXNet (Gluon): builds a model, computes its loss, output and gradients.

`forward` is the network's loss with dropout active and nothing recorded; `gradient` records it and
goes backward from it, which writes the gradients over those of the call before. `inference` is the
network without its loss, not in training mode; `step` is `gradient` and MXNet's update.
"""

import os

import mxnet
import numpy
from mxnet import autograd, nd

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.division import divide_batch, require_equal
from velodrome.adapters.frameworks.graph import require_options
from velodrome.adapters.frameworks.mxnet import mixed_precision
from velodrome.adapters.frameworks.mxnet.blocks import BLOCKS, LOSSES
from velodrome.adapters.frameworks.mxnet.devices import SharedContexts
from velodrome.adapters.frameworks.mxnet.loading import DatasetReader, has_steps, read_batch
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
    """A handle is (losses or outputs, gradients by name), each with one of every context.

    OMP_NUM_THREADS sets the threads.
    """

    group_form = contract.BY_DEVICES
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
        self._training = self._shared = None
        self._contexts = [mxnet.cpu()]
        if dtype == "bfloat16":
            mixed_precision.turn_on(model)

    @staticmethod
    def version():
        return mxnet.__version__

    def join(self, group):
        if self._variant != "threaded":
            raise contract.Unsupported(
                "the variants hybrid and imperative use NaiveEngine, which computes on one device "
                "after the other. Use the variant threaded"
            )
        self._shared = SharedContexts(group.devices)
        self._contexts = self._shared.contexts

    def build(self, weights):
        self._network = Network(self._model, self.blocks, self.losses)
        self._network.fill(weights, self._contexts)
        self._gradients = self._network.gradients()
        if self._shared is not None:
            self._shared.keep(self._network.list_trained())
        self._inference = InferenceBlock(self._network)

    def load(self, batches):
        self._batches = tuple(self._load_parts(batch) for batch in batches)

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
            return [self._network(*part) for part in self._batches[index]], {}

    def gradient(self, index):
        with autograd.record():
            losses = [self._network(*part) for part in self._batches[index]]
        if self._shared is None:
            losses[0].backward()
        else:
            self._shared.go_backward(losses)
        return losses, self._gradients

    def start_inference(self, statistics):
        self._network.set_statistics(statistics)

    def inference(self, index):
        with autograd.pause(train_mode=False):
            parts = self._batches[index]
            return [self._inference(inputs, lengths) for inputs, _, lengths in parts], {}

    def end_inference(self):
        """Do nothing: each call says itself in which mode it runs."""

    def start_training(self, optimizer, weights):
        for name in self._gradients:
            self._network.assign(name, weights[name])
        self._training = Training(optimizer, self._network.list_trained(), len(self._contexts))

    def keep_gradients(self, index):
        return self.gradient(index)

    def update(self):
        self._training.update()

    def step(self, index):
        handle = self.gradient(index)
        self._training.update()
        return handle

    def parameters(self):
        for name, copies in self._network.values().items():
            yield name, self._read_all("the values of", name, copies)

    def start_loading(self, dataset, workers):
        self._reader = DatasetReader(dataset, workers, self._contexts[0])

    def next_batch(self):
        return self._reader.take()

    def fed_gradient(self):
        with autograd.record():
            loss = self._network(*self._reader.take())
        loss.backward()
        return [loss], self._gradients

    def loaded(self, handle):
        return read_batch(handle)

    def end_loading(self):
        self._reader.close()

    def synchronize(self):
        nd.waitall()

    def loss(self, handle):
        losses = [float(loss.asscalar()) for loss in handle[0]]
        return sum(losses) / len(losses)

    def gradients(self, handle):
        for name, copies in handle[1].items():
            yield name, self._read_all("the gradient of", name, copies)

    def output(self, handle):
        found = [nd.amp_cast(part, dtype="float32").asnumpy() for part in handle[0]]
        # Time is first here.
        return numpy.concatenate([own.swapaxes(0, 1) if own.ndim == 3 else own for own in found])

    def kept_shares(self):
        before = self._active
        self.set_dropout(True)
        found = [self._find_shares(part) for part in self._batches[0]]
        self.set_dropout(before)
        return {name: sum(own[name] for own in found) / len(found) for name in found[0]}

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

    def _find_shares(self, part):
        shares = {}
        with autograd.train_mode():
            for layer, read, output in self._network.walk(*part):
                if isinstance(layer, kinds.Dropout):
                    pair = read[0].asnumpy(), output.asnumpy()
                    shares[layer.name] = contract.measure_kept_share(*pair)
        return shares

    def _read_all(self, what, name, copies):
        found = [self._network.canonical(name, copy) for copy in copies]
        return require_equal("{} {}".format(what, name), found)

    def _load_parts(self, batch):
        """Return the arguments of Network on each context, with its examples."""
        parts = divide_batch(batch, len(self._contexts))
        return [_load_batch(part, context) for part, context in zip(parts, self._contexts)]

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
        if self._shared is not None:
            yield from self._shared.notes()
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


def _load_batch(batch, context):
    """Return Network's arguments: time first, lengths as divisors, None if missing."""
    inputs = batch.inputs.swapaxes(0, 1) if has_steps(batch.inputs) else batch.inputs
    labels = None if batch.labels is None else batch.labels.T
    return tuple(
        None if array is None else nd.array(array, ctx=context, dtype=dtype)
        for array, dtype in (
            (inputs, inputs.dtype),
            (labels, "int32"),
            (batch.lengths, "float32"),
        )
    )
