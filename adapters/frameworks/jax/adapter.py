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
from velodrome.adapters.frameworks.division import require_equal_parts
from velodrome.adapters.frameworks.graph import is_time_first, require_options
from velodrome.adapters.frameworks.jax import collectives, copies
from velodrome.adapters.frameworks.jax.device import (
    find_device,
    find_devices,
    find_devices_of_nodes,
)
from velodrome.adapters.frameworks.jax.divided_network import DividedNetwork
from velodrome.adapters.frameworks.jax.network import LENGTH_MULTIPLE, Network
from velodrome.adapters.frameworks.jax.notes import notes
from velodrome.adapters.frameworks.jax.placement import (
    DIVIDED,
    SAME,
    TIME_FIRST,
    Devices,
    DevicesOfNodes,
    OneDevice,
)
from velodrome.adapters.frameworks.jax.training import Trainer
from velodrome.adapters.frameworks.warm_compile import WarmCompiledFunction
from velodrome.adapters.groups.sockets import format_address, reserve_port
from velodrome.adapters.models.collectives import find_operation
from velodrome.adapters.models.copies import find_transfer
from velodrome.adapters.models.layers import NoLoss

VARIANTS = ("jit", "eager")
DTYPES = {
    "cpu": ("float32", "bfloat16", "float16"),
    "gpu": ("float32", "tf32", "bfloat16", "float16"),
}


class Adapter(contract.Adapter):
    """The agent sets the threads: XLA reads NPROC when it starts the CPU."""

    group_form = contract.BY_DEVICES
    no_loader = "JAX has no loader of its own, and its users take that of another library"

    def __init__(self, model, variant, device, threads, dtype):
        require_options("jax", (variant, VARIANTS), (device, tuple(DTYPES)))
        require_options("jax", (dtype, DTYPES[device]))
        if model.is_collective:
            collectives.require_operation(model, dtype)
            self.waits_by_design = collectives.WAITS
        if model.is_transfer:
            copies.require_plain(variant, dtype)
        self._model, self._variant, self._dtype = model, variant, dtype
        self._device = find_device(device, dtype)
        self._gpu = device == "gpu"
        self._placement = OneDevice(self._device, queues=self._gpu)
        self._network = self._functions = Network(model, device, dtype)
        self._specs = dict.fromkeys(("inputs", "labels", "lengths"), DIVIDED)
        if is_time_first(model):
            self._specs["inputs"] = TIME_FIRST
        self._forward = self._gradient = self._copier = None  # made with the first batches
        self._inference = self._trainer = None  # made at their first start

    @staticmethod
    def version():
        return jax.__version__

    def device_name(self):
        return self._device.device_kind if self._gpu else ""

    def meet(self, host):
        self._reserved = reserve_port(host)  # JAX's coordinator binds it, too
        return "tcp://" + format_address(self._reserved, host)

    def join(self, group):
        if self._variant == "eager":
            raise contract.Unsupported(
                "eager calls run on one device: jax.shard_map is compiled. Use the variant jit"
            )
        kind = "gpu" if self._gpu else "cpu"
        if group.size > 1:
            devices, own = find_devices_of_nodes(kind, group)
            self._placement = DevicesOfNodes(devices, own, queues=self._gpu)
        else:
            own = find_devices(kind, group.devices)
            self._placement = Devices(own, queues=self._gpu)
        self._device = own[0]
        self._functions = DividedNetwork(self._network, group.devices, group.rank)

    def build(self, weights):
        placed = self._placement.replicate(self._network.weights(weights))
        self._trained, self._frozen = jax.block_until_ready(placed)
        self.set_dropout(False)

    def load(self, batches):
        size = len(batches[0].inputs)
        require_equal_parts(size, self._placement.count)
        if self._model.is_transfer:
            self._load_copies(batches)
            return
        self._batches = jax.block_until_ready(tuple(map(self._load_batch, batches)))
        if self._forward is None:
            self._carried = self._placement.divide(self._functions.carried(size), DIVIDED)
            self._forward = self._function(
                self._functions.forward, DIVIDED if isinstance(self._model.loss, NoLoss) else SAME
            )
            self._gradient = self._function(self._functions.gradient, SAME)

    def set_parameter(self, name, values):
        array = self._network.in_own_layout(name, values)
        self._trained = dict(self._trained, **{name: self._put_copy(array)})

    def set_dropout(self, active):
        self._rates = self._placement.replicate(self._network.rates(active))

    def forward(self, index):
        return self._forward(self._batches[index])

    def gradient(self, index):
        return self._gradient(self._batches[index])

    def synchronize(self):
        self._placement.synchronize()

    def loss(self, handle):
        loss = handle[0] if isinstance(handle, tuple) else handle
        return float(self._placement.read("the loss", loss))

    def gradients(self, handle):
        return self._read_all("the gradient of", handle[1])

    def output(self, handle):
        """Return the output; a handle of None stands for the memory that a copy fills."""
        if self._copier:
            return self._copier.read(handle)
        array = self._placement.read_own(self._carried["kept"] if handle is None else handle)
        return channels_last.restore_output(array.astype(numpy.float32))

    def start_inference(self, statistics):
        self._statistics = self._placement.replicate(statistics)
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
        self._state = self._placement.replicate(self._trainer.begin(self._trained))

    def keep_gradients(self, index):
        handle = self.gradient(index)
        self._kept = handle[1]
        return handle

    def update(self):
        found = self._placement.run(self._update, self._trained, self._state, self._kept)
        self._trained, self._state = found

    def step(self, index):
        return self._step(self._batches[index])

    def parameters(self):
        # Copied on the device first: a view of the host's would keep memory that is to be donated.
        return self._read_all("the values of", jax.tree.map(jnp.copy, self._trained))

    def kept_shares(self):
        rates = self._placement.replicate(self._network.rates(active=True))
        given = (self._trained, self._frozen, rates, self._batches[0], self._carried)
        found = [self._functions.kept_shares(*part) for part in self._placement.list_parts(given)]
        return {name: sum(own[name] for own in found) / len(found) for name in found[0]}

    def peak_memory_bytes(self):
        return self._placement.peak_memory_bytes() if self._gpu else 0

    def kernels(self):
        """Return XLA's version; it does not report the instructions that it compiles for."""
        return ("xla via jaxlib {}".format(jaxlib.__version__),)

    def notes(self):
        found = tuple(notes(self._model, self._variant, self._gpu, self._dtype))
        if self._copier:
            return (*found, *self._copier.describe())
        found += tuple(self._placement.notes(reduces=not self._model.is_collective))
        if self._model.is_collective:
            operation = find_operation(self._model)
            found += (collectives.describe(operation, self._placement.count),)
        return (*found, self._trainer.note()) if self._trainer else found

    def _function(self, function, result):
        """Return the timed call of a function. Carried buffers are donated.

        result: the specification of its result, as of placement.Devices.
        """
        if self._variant == "jit":
            arguments = (SAME, SAME, SAME, self._list_specs(), DIVIDED)
            function = self._placement.compile(
                function, arguments, (result, DIVIDED), donate_argnums=4, keep_unused=True
            )

        def call(batch):
            result, self._carried = self._placement.run(
                function, self._trained, self._frozen, self._rates, batch, self._carried
            )
            return result

        return WarmCompiledFunction(call, self._batches)

    def _make_inference(self):
        function = self._functions.inference
        if self._variant == "jit":
            arguments = (SAME, SAME, SAME, self._list_specs())
            function = self._placement.compile(function, arguments, DIVIDED)

        def call(batch):
            return self._placement.run(
                function, self._trained, self._frozen, self._statistics, batch
            )

        return WarmCompiledFunction(call, self._batches)

    def _make_trainer(self, optimizer):
        self._trainer = Trainer(self._functions, optimizer)
        self._update, step = self._trainer.update, self._trainer.step
        if self._variant == "jit":
            self._update = self._placement.compile(self._update, SAME, SAME, donate_argnums=(0, 1))
            step = self._placement.compile(
                step,
                (SAME, SAME, SAME, SAME, self._list_specs(), DIVIDED),
                (SAME, SAME, SAME, DIVIDED),
                donate_argnums=(0, 1, 5),
                keep_unused=True,
            )

        def call(batch):
            loss, self._trained, self._state, self._carried = self._placement.run(
                step, self._trained, self._state, self._frozen, self._rates, batch, self._carried
            )
            return loss

        self._step = WarmCompiledFunction(call, self._batches, self._rehearsal)

    def _list_specs(self):
        """Return the specification of each array of a batch."""
        return {name: self._specs[name] for name in self._batches[0]}

    def _read_all(self, what, arrays):
        """Yield (key, array on the host) of arrays that every device has."""
        return self._network.canonical(
            (name, self._placement.read("{} {}".format(what, name), array))
            for name, array in arrays.items()
        )

    @contextlib.contextmanager
    def _rehearsal(self):
        """Undo, at the end of the context, every step that was taken in it."""
        kept = jax.tree.map(jnp.copy, (self._trained, self._state))
        yield
        self._trained, self._state = kept

    def _put_copy(self, array):
        """Copy a parameter to the device: JAX may use the memory it is given, and donate it."""
        return self._placement.replicate(numpy.array(array))

    def _load_copies(self, batches):
        if self._copier is None:
            self._copier = copies.JaxCopier(find_transfer(self._model), self._placement)
            self._forward = self._copier.call
        self._batches = tuple(self._copier.place(batch.inputs) for batch in batches)

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
        return self._placement.divide(found, self._specs)
