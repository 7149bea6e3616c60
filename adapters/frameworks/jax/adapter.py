"""Adapter for JAX: builds a model from weights, computes its loss, output and gradients.

Each timed call is one jax.jit of a pure function, or that function itself for the variant eager.
`update` and `step` take the parameters and the optimizer's state, which are donated, and return the
new ones. A handle is the loss or the output, or the loss and the gradients by name.
"""

import contextlib

import jax
import jax.numpy as jnp
import jaxlib
import numpy

from velodrome.adapters import contract
from velodrome.adapters.frameworks import channels_last
from velodrome.adapters.frameworks.graph import is_time_first, require_options
from velodrome.adapters.frameworks.jax.device import find_device
from velodrome.adapters.frameworks.jax.network import LENGTH_MULTIPLE, Network
from velodrome.adapters.frameworks.jax.notes import notes
from velodrome.adapters.frameworks.jax.training import Trainer
from velodrome.adapters.frameworks.warm_compile import WarmCompiledFunction

VARIANTS = ("jit", "eager")
DTYPES = {
    "cpu": ("float32", "bfloat16", "float16"),
    "gpu": ("float32", "tf32", "bfloat16", "float16"),
}


class Adapter(contract.Adapter):
    """The agent sets the threads: XLA reads NPROC once, when it is imported."""

    def __init__(self, model, variant, device, threads, dtype):
        require_options("jax", (variant, VARIANTS), (device, tuple(DTYPES)))
        require_options("jax", (dtype, DTYPES[device]))
        self._model, self._variant, self._dtype = model, variant, dtype
        self._device = find_device(device, dtype)
        self._gpu = device == "gpu"
        self._network = Network(model, device, dtype)
        self._forward = self._gradient = None  # made with the first batches
        self._inference = self._trainer = None  # made at their first start

    @staticmethod
    def version():
        return jax.__version__

    def device_name(self):
        return self._device.device_kind if self._gpu else ""

    def build(self, weights):
        self._trained, self._frozen = jax.device_put(self._network.weights(weights), self._device)
        self._rates = self._network.rates(active=False)

    def load(self, batches):
        self._batches = tuple(self._load_batch(batch) for batch in batches)
        if self._forward is None:
            self._carried = self._network.carried(len(batches[0].inputs))
            self._forward = self._function(self._network.forward)
            self._gradient = self._function(self._network.gradient)

    def set_parameter(self, name, values):
        array = self._network.in_own_layout(name, values)
        self._trained = dict(self._trained, **{name: self._put_copy(array)})

    def set_dropout(self, active):
        self._rates = self._network.rates(active)

    def forward(self, index):
        return self._forward(self._batches[index])

    def gradient(self, index):
        return self._gradient(self._batches[index])

    def synchronize(self):
        if self._gpu:  # on the CPU a call returns when it is done, see find_device
            self._device.synchronize_all_activity()

    def loss(self, handle):
        return float(handle[0] if isinstance(handle, tuple) else handle)

    def gradients(self, handle):
        return self._network.canonical(handle[1].items())

    def output(self, handle):
        """Return the output; a handle of None stands for the memory that a copy fills."""
        array = jax.device_get(self._carried["kept"] if handle is None else handle)
        return channels_last.restore_output(array.astype(numpy.float32))

    def start_inference(self, statistics):
        self._statistics = jax.device_put(statistics, self._device)
        if self._inference is None:
            self._inference = self._make_inference()

    def inference(self, index):
        return self._inference(self._batches[index])

    def end_inference(self):
        """Do nothing: evaluation is a function of its own."""

    def start_training(self, optimizer, weights):
        if self._trainer is None or self._trainer.name != optimizer:
            self._make_trainer(optimizer)
        trained, _ = self._network.weights(weights)
        self._trained = {name: self._put_copy(array) for name, array in trained.items()}
        self._state = jax.device_put(self._trainer.begin(self._trained), self._device)

    def keep_gradients(self, index):
        handle = self.gradient(index)
        self._kept = handle[1]
        return handle

    def update(self):
        self._trained, self._state = self._update(self._trained, self._state, self._kept)

    def step(self, index):
        return self._step(self._batches[index])

    def parameters(self):
        # Copied on the device first: a view of the host's would keep memory that is to be donated.
        copies = ((name, jnp.copy(values)) for name, values in self._trained.items())
        return self._network.canonical(copies)

    def kept_shares(self):
        rates = self._network.rates(active=True)
        return self._network.kept_shares(
            self._trained, self._frozen, rates, self._batches[0], self._carried
        )

    def peak_memory_bytes(self):
        return self._device.memory_stats()["peak_bytes_in_use"] if self._gpu else 0

    def kernels(self):
        """Return XLA's version; it does not report the instructions that it compiles for."""
        return ("xla via jaxlib {}".format(jaxlib.__version__),)

    def notes(self):
        found = notes(self._model, self._variant, self._gpu, self._dtype)
        return (*found, self._trainer.note()) if self._trainer else tuple(found)

    def _function(self, function):
        """Return the timed call of a function. Carried buffers are donated."""
        if self._variant == "jit":
            function = jax.jit(function, donate_argnums=4, keep_unused=True)

        def call(batch):
            result, self._carried = function(
                self._trained, self._frozen, self._rates, batch, self._carried
            )
            return result

        return WarmCompiledFunction(call, self._batches)

    def _make_inference(self):
        function = self._network.inference
        if self._variant == "jit":
            function = jax.jit(function)

        def call(batch):
            return function(self._trained, self._frozen, self._statistics, batch)

        return WarmCompiledFunction(call, self._batches)

    def _make_trainer(self, optimizer):
        self._trainer = Trainer(self._network, optimizer)
        self._update, step = self._trainer.update, self._trainer.step
        if self._variant == "jit":
            self._update = jax.jit(self._update, donate_argnums=(0, 1))
            step = jax.jit(step, donate_argnums=(0, 1, 5), keep_unused=True)

        def call(batch):
            loss, self._trained, self._state, self._carried = step(
                self._trained, self._state, self._frozen, self._rates, batch, self._carried
            )
            return loss

        self._step = WarmCompiledFunction(call, self._batches, self._rehearsal)

    @contextlib.contextmanager
    def _rehearsal(self):
        """Undo, at the end of the context, every step that was taken in it."""
        kept = jax.tree.map(jnp.copy, (self._trained, self._state))
        yield
        self._trained, self._state = kept

    def _put_copy(self, array):
        """Copy a parameter to the device: JAX may use the memory it is given, and donate it."""
        return jax.device_put(numpy.array(array), self._device)

    def _load_batch(self, batch):
        time_first = is_time_first(self._model)
        multiple = 1 if batch.lengths is None else LENGTH_MULTIPLE
        inputs = channels_last.convert_inputs(batch.inputs, multiple, time_first)
        if time_first and inputs.ndim == 3:
            inputs = inputs.swapaxes(0, 1)
        found = {"inputs": inputs}
        if batch.labels is not None:
            found["labels"] = batch.labels
        if batch.lengths is not None:
            found["lengths"] = batch.lengths
        return jax.device_put(found, self._device)
