"""Adapter for CNTK: builds a model from weights, computes its loss, output and gradients.

`forward` is Function.forward of the loss, `gradient` Function.grad, both with values that lie on
the device, `inference` that of the last layer's output, and `step` a Trainer's train_minibatch. A
handle is (the loss or the output, the gradients by parameter), the loss None if the trainer has it.
A call returns when it is done: on the CPU there is no queue.
"""

import cntk
import numpy

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.cntk.network import Network
from velodrome.adapters.frameworks.cntk.optimizers import Training
from velodrome.adapters.frameworks.graph import require_options
from velodrome.adapters.models import layers as kinds

# What a reader of the row should know, by the kind of layer that it is about.
NOTES = (
    (kinds.Lrn, "LRN is CNTK's own, which it composes of a dozen operations"),
    (kinds.Embedding, "the embedding is gather, whose gradient is dense"),
    (kinds.Lstm, format_note(kinds.Lstm, "as a recurrence; sequences have their true lengths")),
    (kinds.Gru, format_note(kinds.Gru, "as a recurrence; sequences have their true lengths")),
    (kinds.Loop, format_note(kinds.Loop, "unrolled, as CNTK loops over sequences alone")),
    (kinds.Attention, format_note(kinds.Attention, "of products and a softmax for each head")),
    (kinds.Gelu, format_note(kinds.Gelu, "in its tanh form, of products and a tanh")),
    (kinds.Silu, format_note(kinds.Silu, "of a sigmoid and a product")),
    (kinds.LayerNorm, format_note(kinds.LayerNorm, "of means, a root and products")),
    (kinds.RmsNorm, format_note(kinds.RmsNorm, "of a mean of squares, a root and products")),
    (kinds.Duplicate, "the copy is that of the batch into the network's memory"),
)


class Adapter(contract.Adapter):
    """Runs the last published wheel, which has no CUDA for current GPUs."""

    early_epsilon = True

    def __init__(self, model, variant, device, threads, dtype):
        require_options("cntk", (variant, ("default",)), (device, ("cpu",)), (dtype, ("float32",)))
        cntk.cntk_py.set_max_num_cputhreads(threads)
        self._device = cntk.device.cpu()
        cntk.device.try_set_default_device(self._device)
        self._model = model
        self._training = None

    @staticmethod
    def version():
        return cntk.__version__

    def build(self, weights):
        self._network = Network(self._model, weights)
        self._loss, self._output = self._network.loss, self._network.output
        self._trained = list(self._network.trained.values())
        self._names = {self._network.trained[name]: name for name in self._network.trained}
        # Without anything to go back for, CNTK runs for inference: it drops nothing, and normalizes
        # by what it remembers.
        trains = any(
            isinstance(layer, (kinds.Dropout, kinds.BatchNorm)) for layer in self._model.layers
        )
        self._kept = {self._loss.output} if trains else None

    def load(self, batches):
        self._batches = [self._network.arguments(batch, self._device) for batch in batches]
        read = set(self._output.arguments)
        self._inputs = [
            {variable: value for variable, value in batch.items() if variable in read}
            for batch in self._batches
        ]

    def set_parameter(self, name, values):
        self._network.assign(name, values)

    def set_dropout(self, active):
        rates = {own.name: own.rate for own in self._model.layers if isinstance(own, kinds.Dropout)}
        for name in self._network.dropouts:
            self._network.set_rate(name, rates[name] if active else 0.0)

    def forward(self, index):
        _, outputs = self._loss.forward(
            self._batches[index], [self._loss.output], self._kept, self._device, as_numpy=False
        )
        return outputs[self._loss.output], None

    def gradient(self, index):
        gradients, loss = self._loss.grad(
            self._batches[index], self._trained, [self._loss.output], self._device, as_numpy=False
        )
        return loss, gradients

    def start_inference(self, statistics):
        self._network.set_statistics(statistics)

    def inference(self, index):
        """Keep nothing for a backward pass: so CNTK runs for inference."""
        _, outputs = self._output.forward(
            self._inputs[index], [self._output.output], None, self._device, as_numpy=False
        )
        return outputs[self._output.output], None

    def end_inference(self):
        """Do nothing: the other calls run for training by themselves."""

    def start_training(self, optimizer, weights):
        for name in self._network.trained:
            self._network.assign(name, weights[name])
        if self._training is None or self._training.name != optimizer:
            self._training = Training(optimizer, self._network.trained_loss, self._trained)
        self._training.reset()

    def keep_gradients(self, index):
        """Copy the gradients: those that CNTK returns are valid until the next call."""
        handle = self.gradient(index)
        copies = {own: value.asarray() for own, value in self._by_parameter(handle).items()}
        self._training.keep(copies, self._device)
        return handle

    def update(self):
        self._training.update()

    def step(self, index):
        self._training.step(self._batches[index], self._device)
        return None, None

    def parameters(self):
        for name, parameter in self._network.trained.items():
            yield name, self._network.canonical(name, numpy.array(parameter.value))

    def synchronize(self):
        pass

    def loss(self, handle):
        return self._training.loss() if handle[0] is None else float(handle[0].asarray())

    def gradients(self, handle):
        for parameter, value in self._by_parameter(handle).items():
            name = self._names[parameter]
            yield name, self._network.canonical(name, value.asarray())

    def output(self, handle):
        return handle[0].asarray()

    def kept_shares(self):
        """Measure in clones: a changed rate reaches only one of the functions of a layer."""
        found = {}
        for name, (source, dropout) in self._network.dropouts.items():
            both = cntk.combine([source, dropout])
            same = {argument: argument for argument in both.arguments}
            both = both.clone(cntk.CloneMethod.share, same)
            batch = {argument: self._batches[0][argument] for argument in same}
            _, outputs = both.forward(batch, both.outputs, {both.outputs[1]}, self._device)
            before, behind = (outputs[output] for output in both.outputs)
            found[name] = contract.measure_kept_share(before, behind)
        return found

    def notes(self):
        present = {type(layer) for layer in self._model.layers}
        first = "a call first copies its batch into the network's memory, as CNTK always does"
        found = (first,) + tuple(note for kind, note in NOTES if kind in present)
        if self._training is not None and self._training.note:
            found += (self._training.note,)
        return found

    def _by_parameter(self, handle):
        """Return gradients by parameter; for a single one CNTK returns the gradient itself."""
        return handle[1] if isinstance(handle[1], dict) else {self._trained[0]: handle[1]}
