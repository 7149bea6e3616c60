"""The part of the adapter that all frameworks of Theano's family share.

Each phase is a compiled function: `step` has the gradients and the optimizer's new values in one.
Batches are given as arrays that a function reads where they are: on a CPU that is the device. What
a function returns is memory that it keeps and writes again in its next call.
"""

import numpy

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.graph import is_time_first, require_options
from velodrome.adapters.frameworks.theano_family.layers import COMPOSED, LAYERS, LOSSES
from velodrome.adapters.frameworks.theano_family.network import Network
from velodrome.adapters.frameworks.theano_family.optimizer import SharedOptimizer


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
        self._inference = self._compile_at_first_call("_inference", self._network.evaluate)
        self._optimizer = None

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

    def start_inference(self, statistics):
        self._network.set_statistics(statistics)

    def inference(self, index):
        return self._inference(*self._batches[index])

    def end_inference(self):
        """Do nothing: the functions of training read no running statistics."""

    def start_training(self, optimizer, weights):
        self._network.fill(weights)
        if self._optimizer is None or self._optimizer.name != optimizer:
            self._prepare_training(optimizer)
        self._optimizer.reset()

    def keep_gradients(self, index):
        self._kept = [numpy.array(each, order="C") for each in self.gradient(index)]
        for variable, gradient in zip(self._kept_variables, self._kept[1:]):
            variable.set_value(gradient, borrow=True)
        return self._kept

    def update(self):
        self._update()
        return self._kept

    def step(self, index):
        return self._step(*self._batches[index])

    def parameters(self):
        return self._network.parameters()

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
        found = tuple(format_note(kind, how) for kind, how in self.composed.items() if kind in used)
        if self._optimizer is not None:
            found += (self._optimizer.describe(),)
        return found

    def _prepare_training(self, name):
        trained = self._network.list_trained()
        self._optimizer = own = SharedOptimizer(name, self.library, trained)
        self._kept_variables = [own.make_zeros(variable) for variable in trained]
        self._update = self._compile_at_first_call(
            "_update", lambda: [], lambda: own.list_updates(self._kept_variables), []
        )
        self._step = self._compile_at_first_call("_step", self._network.forward, self._list_updates)

    def _list_updates(self):
        return self._optimizer.list_updates(self._network.gradient()[1:])

    def _compile_at_first_call(self, attribute, graph, updates=tuple, symbols=None):
        """Return a function that compiles graph() at its first call and is then replaced by it.

        updates: returns pairs of a shared variable and its value after a call.
        """

        def call(*batch):
            function = self._compile(graph(), updates(), symbols)
            setattr(self, attribute, function)
            return function(*batch)

        return call

    def _compile(self, outputs, updates=(), symbols=None):
        """Compile outputs of symbols, which are those of a batch by default."""
        root = self.library.root
        symbols = self._network.symbols if symbols is None else symbols
        function = root.function(
            [root.In(symbol, borrow=True) for symbol in symbols],
            [root.Out(output, borrow=True) for output in outputs],
            mode=self.mode(),
            updates=list(updates),
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
