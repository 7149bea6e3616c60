"""Adapter for CNTK: builds a model from weights, computes its loss, output and gradients.

`forward` is Function.forward of the loss, `gradient` Function.grad, both with values that lie on
the device. A handle is (the loss or the output, the gradients by parameter). A call returns when it
is done: on the CPU there is no queue.
"""

import cntk

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.cntk.network import Network
from velodrome.adapters.frameworks.graph import require_options
from velodrome.adapters.models import layers as kinds

DROPOUT_RATE = "dropoutRate"

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

    def __init__(self, model, variant, device, threads, dtype):
        require_options("cntk", (variant, ("default",)), (device, ("cpu",)), (dtype, ("float32",)))
        cntk.cntk_py.set_max_num_cputhreads(threads)
        self._device = cntk.device.cpu()
        cntk.device.try_set_default_device(self._device)
        self._model = model

    @staticmethod
    def version():
        return cntk.__version__

    def build(self, weights):
        self._network = Network(self._model, weights)
        self._loss = self._network.loss
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

    def set_parameter(self, name, values):
        self._network.assign(name, values)

    def set_dropout(self, active):
        rates = {own.name: own.rate for own in self._model.layers if isinstance(own, kinds.Dropout)}
        for name, (_, dropout) in self._network.dropouts.items():
            dropout.set_attribute(DROPOUT_RATE, rates[name] if active else 0.0)

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

    def synchronize(self):
        pass

    def loss(self, handle):
        return float(handle[0].asarray())

    def gradients(self, handle):
        """Return gradients by name; for a single parameter CNTK returns the gradient itself."""
        found = handle[1] if isinstance(handle[1], dict) else {self._trained[0]: handle[1]}
        for parameter, value in found.items():
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
        return (first,) + tuple(note for kind, note in NOTES if kind in present)
