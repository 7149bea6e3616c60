"""Adapter for Chainer: builds a model from weights, computes its loss, output and gradients.

`forward` runs in no_backprop_mode; `gradient` clears the gradients and goes backward from the loss.
Both in training mode: dropout is off by its rate. `inference` is not; `step` is `gradient` and the
update of Chainer's optimizer.
"""

import chainer
import numpy
from chainer.backends import intel64

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.chainer.loading import DatasetReader
from velodrome.adapters.frameworks.chainer.network import Network
from velodrome.adapters.frameworks.chainer.operations import LAYERS, LOSSES, on_host
from velodrome.adapters.frameworks.chainer.optimizers import make_optimizer
from velodrome.adapters.frameworks.graph import is_time_first, require_options
from velodrome.adapters.models import layers as kinds

# iDeep is Intel's oneDNN for Chainer.
DEVICES = {"ideep": "@intel64", "numpy": "@numpy"}


class Adapter(contract.Adapter):
    """A handle is (loss or output, gradients). OMP_ and OPENBLAS_NUM_THREADS set the threads."""

    layers, losses = LAYERS, LOSSES
    early_epsilon = True

    def __init__(self, model, variant, device, threads, dtype):
        require_options(
            "chainer", (variant, tuple(DEVICES)), (device, ("cpu",)), (dtype, ("float32",))
        )
        if variant == "ideep" and not intel64.is_ideep_available():
            raise contract.Unsupported("iDeep (ideep4py) is not in this environment")
        chainer.config.train = True
        chainer.config.use_ideep = "always" if variant == "ideep" else "never"
        self._model, self._device = model, chainer.get_device(DEVICES[variant])
        self._device.use()

    @staticmethod
    def version():
        return chainer.__version__

    def join(self, group):
        raise contract.Unsupported(
            "Chainer has one device for the CPU: ParallelUpdater copies a model to GPUs, and "
            "ChainerMN needs MPI and mpi4py, which are not in this environment"
        )

    def build(self, weights):
        self._network = Network(self._model, self.layers, self.losses)
        self._network.fill(weights)
        self._network.to_device(self._device)

    def load(self, batches):
        self._batches = tuple(self._load_batch(batch) for batch in batches)

    def set_parameter(self, name, values):
        self._network.assign(name, values, self._device)

    def set_dropout(self, active):
        self._active = active
        for layer, step in self._network.steps:
            if isinstance(layer, kinds.Dropout):
                step.rate = layer.rate if active else 0.0

    def forward(self, index):
        with chainer.no_backprop_mode():
            return self._network(*self._batches[index]), {}

    def gradient(self, index):
        return self._go_backward(self._batches[index]), self._network.gradients()

    def start_inference(self, statistics):
        self._network.set_statistics(statistics, self._device)
        chainer.config.train = False

    def inference(self, index):
        inputs, _, lengths = self._batches[index]
        with chainer.no_backprop_mode():
            return self._network.infer(inputs, lengths), {}

    def end_inference(self):
        chainer.config.train = True

    def start_training(self, optimizer, weights):
        for name in self._network.trained:
            self._network.assign(name, weights[name], self._device)
        found = [own for each in self._network.trained.values() for own in each]
        self._optimizer = make_optimizer(optimizer, found)

    def keep_gradients(self, index):
        return self.gradient(index)

    def update(self):
        self._optimizer.update()

    def step(self, index):
        loss = self._go_backward(self._batches[index])
        self._optimizer.update()
        return loss, {}

    def parameters(self):
        for name, found in self._network.trained.items():
            yield name, self._network.canonical([parameter.array for parameter in found])

    def start_loading(self, dataset, workers):
        self._reader = DatasetReader(dataset, workers)

    def next_batch(self):
        return self._load_batch(self._reader.take())

    def fed_gradient(self):
        return self._go_backward(self.next_batch()), self._network.gradients()

    def loaded(self, handle):
        inputs, labels, _ = handle
        if not isinstance(inputs, tuple):
            return contract.Batch(on_host(inputs), labels)
        words, ends = inputs
        return contract.Batch(numpy.stack(numpy.split(words, ends)), labels)

    def end_loading(self):
        self._reader.close()

    def synchronize(self):
        """Return at once: a call returns when all is computed."""

    def loss(self, handle):
        return float(handle[0].array)

    def gradients(self, handle):
        for name, parts in handle[1].items():
            yield name, self._network.canonical(parts)

    def output(self, handle):
        return on_host(handle[0].array)

    def kept_shares(self):
        shares, before = {}, self._active
        self.set_dropout(True)
        with chainer.no_backprop_mode():
            for layer, read, output in self._network.walk(*self._batches[0]):
                if isinstance(layer, kinds.Dropout):
                    pair = on_host(read[0].array), on_host(output.array)
                    shares[layer.name] = contract.measure_kept_share(*pair)
        self.set_dropout(before)
        return shares

    def notes(self):
        return tuple(self._notes())

    def _go_backward(self, batch):
        """Return the loss; each parameter has its gradient, in fresh memory."""
        self._network.cleargrads()
        loss = self._network(*batch)
        loss.backward()
        return loss

    def _load_batch(self, batch):
        """Return Network's arguments.

        Words that a recurrent layer reads: all examples one after another, and their ends.
        """
        if batch.inputs.dtype.kind != "i":
            return self._device.send(batch.inputs), batch.labels, batch.lengths
        if not is_time_first(self._model):
            return batch
        lengths = batch.lengths
        if lengths is None:
            lengths = numpy.full(len(batch.inputs), batch.inputs.shape[1])
        words = [row[:length] for row, length in zip(batch.inputs, lengths)]
        return (numpy.concatenate(words), numpy.cumsum(lengths)[:-1]), batch.labels, lengths

    def _notes(self):
        present = {type(layer) for layer in self._model.layers}
        if kinds.Attention in present:
            yield format_note(kinds.Attention, "of products of matrices and a masked softmax")
        if kinds.Gelu in present:
            yield format_note(kinds.Gelu, "in its tanh form, of products and a tanh")
        if kinds.Silu in present:
            yield format_note(kinds.Silu, "of a sigmoid and a product")
        if kinds.RmsNorm in present:
            yield format_note(kinds.RmsNorm, "of a mean of squares, rsqrt and products")
        if kinds.Loop in present:
            yield "the loop is Python's: Chainer records operations as they run"
        if kinds.Duplicate in present:
            yield "NumPy's own copy, into memory that every call reuses"
        if self._device.name == "@intel64" and kinds.Dropout in present:
            yield "NumPy draws the dropout masks: iDeep repeats its masks within a second"
        if self._device.name == "@intel64" and self._has_groups():
            yield "grouped convolution is Chainer's own, by NumPy: iDeep has none"

    def _has_groups(self):
        return any(getattr(layer, "groups", 1) > 1 for layer in self._model.layers)
