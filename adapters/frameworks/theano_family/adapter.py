"""The part of the adapter that all frameworks of Theano's family share.

`forward` and `gradient` are two compiled functions. Batches are given as arrays that a function
reads where they are: on a CPU that is the device. What a function returns is memory that it keeps
and writes again in its next call. No parameter is updated.
"""

import numpy

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.graph import is_time_first, require_options
from velodrome.adapters.frameworks.theano_family.layers import COMPOSED, LAYERS, LOSSES
from velodrome.adapters.frameworks.theano_family.network import Network


class FamilyAdapter(contract.Adapter):
    """A handle is a list: the loss or the output, then the gradients."""

    name = ""
    library = None  # a velodrome.adapters.frameworks.theano_family.library.TheanoLibrary
    variants = ()
    composed = COMPOSED  # how a kind of layer is composed, if there is no operation

    def __init__(self, model, variant, device, threads, dtype):
        """threads: there is no call for it; the agent sets variables such as OMP_NUM_THREADS."""
        require_options(
            self.name, (variant, self.variants), (device, ("cpu",)), (dtype, ("float32",))
        )
        self._model, self._variant = model, variant

    def layers(self):
        """Return the functions that build each kind of layer."""
        return LAYERS

    def mode(self):
        """Return the compilation mode, as `mode` of theano.function."""
        return None

    def build(self, weights):
        self._network = Network(self._model, weights, self.library, self.layers(), LOSSES)
        self._forward = self._compile_at_first_call("_forward", self._network.forward)
        self._gradient = self._compile_at_first_call("_gradient", self._network.gradient)

    def load(self, batches):
        self._network.draw(len(batches[0].inputs))
        time_first = is_time_first(self._model)
        self._batches = tuple(_list_arguments(batch, time_first) for batch in batches)

    def set_parameter(self, name, values):
        self._network.assign(name, values)

    def set_dropout(self, active):
        self._network.set_dropout(active)

    def forward(self, index):
        return self._forward(*self._batches[index])

    def gradient(self, index):
        return self._gradient(*self._batches[index])

    def synchronize(self):
        """Return at once: a call returns when all is computed."""

    def loss(self, handle):
        return float(handle[0])

    def gradients(self, handle):
        return self._network.canonical(handle[1:])

    def output(self, handle):
        return numpy.asarray(handle[0])

    def kept_shares(self):
        dropouts = self._network.dropouts()
        outputs = [variable for pair in dropouts.values() for variable in pair]
        found = self._compile(outputs)(*self._batches[0])
        return {
            name: contract.measure_kept_share(before, after)
            for name, before, after in zip(dropouts, found[::2], found[1::2])
        }

    def notes(self):
        used = {type(layer) for layer in self._model.layers}
        return tuple(format_note(kind, how) for kind, how in self.composed.items() if kind in used)

    def _compile_at_first_call(self, attribute, graph):
        """Return a function that compiles graph() at its first call and is then replaced by it."""

        def call(*batch):
            function = self._compile(graph())
            setattr(self, attribute, function)
            return function(*batch)

        return call

    def _compile(self, outputs):
        root = self.library.root
        function = root.function(
            [root.In(symbol, borrow=True) for symbol in self._network.symbols],
            [root.Out(output, borrow=True) for output in outputs],
            mode=self.mode(),
            on_unused_input="ignore",  # what dropout keeps does not depend on the labels
        )
        function.trust_input = True
        return function


def _list_arguments(batch, time_first):
    """Return a function's arguments. Tokens are of the type of row indices."""
    inputs = batch.inputs
    if inputs.dtype.kind == "i":
        inputs = inputs.astype(numpy.int64)
    if time_first:
        inputs = numpy.ascontiguousarray(inputs.swapaxes(0, 1))
    return tuple(array for array in (inputs, batch.labels, batch.lengths) if array is not None)
