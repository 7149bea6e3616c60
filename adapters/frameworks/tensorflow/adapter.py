"""Adapter for TensorFlow: builds a model, computes its loss, output and gradients.

`forward` is the loss of a batch with dropout active; `gradient` is that and tape.gradient; `update`
applies a Keras optimizer to gradients, and `step` is both. Each is one tf.function, or a plain call
for the variant eager. A handle is a list: the loss or the output, then the gradients in the order
of the trained parameters.
"""

import numpy
import tensorflow as tf

from velodrome.adapters import contract
from velodrome.adapters.frameworks import channels_last
from velodrome.adapters.frameworks.division import divide_batch
from velodrome.adapters.frameworks.graph import is_time_first, require_options
from velodrome.adapters.frameworks.tensorflow.device import find_gpu, make_devices, set_threads
from velodrome.adapters.frameworks.tensorflow.divided_network import DividedNetwork
from velodrome.adapters.frameworks.tensorflow.loading import DatasetReader, read_batch
from velodrome.adapters.frameworks.tensorflow.network import Network
from velodrome.adapters.frameworks.tensorflow.notes import notes
from velodrome.adapters.frameworks.tensorflow.operations import (
    CHOICES,
    LOSSES,
    LOWER_ON_CPU,
    OPERATIONS,
)
from velodrome.adapters.frameworks.tensorflow.placement import OneDevice, mirror
from velodrome.adapters.frameworks.tensorflow.workers import WorkerDevices
from velodrome.adapters.frameworks.warm_compile import WarmCompiledFunction
from velodrome.adapters.groups.addresses import open_exchange
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.tolerances import DTYPES

VARIANTS = ("graph", "eager", "xla")

# XLA compiles for seconds, once per shape. So sequences are padded to few different lengths, as is
# usual with XLA. The loop ends at the batch's longest all the same, only the products around it
# are longer: by a tenth for the lengths of `lstm`.
XLA_LENGTH_MULTIPLE = 16


class Adapter(contract.Adapter):
    """Maps kinds of layers by OPERATIONS, and CHOICES for the variant and the device on top."""

    group_form = contract.BY_DEVICES
    losses = LOSSES
    early_epsilon = True  # of Keras' AdamW: keras/src/optimizers/adam.py, update_step

    def __init__(self, model, variant, device, threads, dtype):
        require_options(
            "tensorflow", (variant, VARIANTS), (device, ("cpu", "gpu")), (dtype, DTYPES)
        )
        if device == "cpu" and dtype == "tf32":
            raise contract.Unsupported("TensorFlow computes in TF32 on GPUs alone")
        self._model, self._variant, self._dtype = model, variant, dtype
        self._forward = self._gradient = None  # made with the first batches
        self._inference = self._trainer = None  # made at their first start
        self._gpu = find_gpu(device, dtype)
        self._device = "/GPU:0" if self._gpu else "/CPU:0"
        self._placement = OneDevice(self._device)
        self._threads = threads

    @staticmethod
    def version():
        return tf.__version__

    def device_name(self):
        if not self._gpu:
            return ""
        return tf.config.experimental.get_device_details(self._gpu).get("device_name", "GPU")

    def operations(self):
        """Return the operation of each kind of layer."""
        found = dict(OPERATIONS)
        found.update(CHOICES[self._variant, "gpu" if self._gpu else "cpu"])
        if not self._gpu and self._dtype != "float32":
            found.update(LOWER_ON_CPU)
        return found

    def meet(self, host):
        return open_exchange(host)

    def join(self, group):
        if self._variant == "eager":
            raise contract.Unsupported(
                "eager calls run on one device: MirroredStrategy runs those of its devices one "
                "after the other. Use the variant graph or xla"
            )
        set_threads(self._threads, group.devices)  # before MirroredStrategy's first operation
        device = "gpu" if self._gpu else "cpu"
        names = make_devices(device, group.devices)
        self._placement = WorkerDevices(device, group) if group.size > 1 else mirror(names)

    def build(self, weights):
        if self._placement.total == 1:
            set_threads(self._threads)  # not earlier: they cannot be set twice
        with self._placement.scope():
            self._network = self._functions = Network(
                self._model,
                weights,
                self.operations(),
                self.losses,
                self._dtype,
                self._length_multiple(),
            )
        if self._placement.total > 1:
            self._functions = DividedNetwork(self._network, compiles=self._variant == "xla")

    def load(self, batches):
        self._batches = tuple(self._load_batch(batch) for batch in batches)
        self._network.reserve(len(batches[0].inputs), self._placement)
        if self._forward is None:
            self._forward = self._function(self._functions.forward)
            self._gradient = self._function(self._functions.gradient)

    def set_parameter(self, name, values):
        self._network.assign(name, values)

    def set_dropout(self, active):
        self._network.set_dropout(active)

    def forward(self, index):
        return self._forward(self._batches[index])

    def gradient(self, index):
        return self._gradient(self._batches[index])

    def start_loading(self, dataset, workers):
        self._reader = DatasetReader(
            dataset, workers, self._device if self._gpu else "", is_time_first(self._model)
        )

    def next_batch(self):
        return self._reader.take()

    def fed_gradient(self):
        return self._gradient(self._reader.take())

    def loaded(self, handle):
        return read_batch(handle, is_time_first(self._model))

    def end_loading(self):
        self._reader.close()

    def synchronize(self):
        if self._gpu:  # on the CPU a call returns when all of its results are there
            tf.test.experimental.sync_devices()

    def loss(self, handle):
        return float(self._placement.read("the loss", handle[0]))

    def gradients(self, handle):
        return self._network.canonical("the gradient of", handle[1:], self._placement)

    def output(self, handle):
        return self._network.output(handle, self._placement)

    def start_inference(self, statistics):
        with self._placement.scope():
            self._network.assign_statistics(statistics)
        if self._inference is None:
            self._inference = self._function(self._functions.inference)

    def inference(self, index):
        return self._inference(self._batches[index])

    def end_inference(self):
        """Do nothing: evaluation is a function of its own."""

    def start_training(self, optimizer, weights):
        with self._placement.scope():
            if self._trainer is None or self._trainer.name != optimizer:
                self._make_trainer(optimizer)
            self._trainer.restart(weights)

    def keep_gradients(self, index):
        handle = self.gradient(index)
        self._kept = handle[1:]
        return handle

    def update(self):
        return self._update(self._kept)

    def step(self, index):
        return self._step(self._batches[index])

    def parameters(self):
        found = self._network.canonical("the values of", self._network.trained, self._placement)
        for name, values in found:
            yield name, numpy.array(values)  # TensorFlow's own may share the variable's memory

    def kept_shares(self):
        parts = self._placement.list_parts(self._batches[0])
        found = [self._network.kept_shares(part) for part in parts]
        return {name: sum(own[name] for own in found) / len(found) for name in found[0]}

    def peak_memory_bytes(self):
        if not self._gpu:
            return 0
        return sum(
            tf.config.experimental.get_memory_info("GPU:{}".format(number))["peak"]
            for number in range(self._placement.count)
        )

    def kernels(self):
        """Return eigen and onednn; TensorFlow does not report oneDNN's version or instructions."""
        names = ("eigen", "onednn") if _has_onednn() else ("eigen",)
        return tuple("{} via tensorflow {}".format(name, tf.__version__) for name in names)

    def notes(self):
        given = (self._variant, bool(self._gpu), self._dtype, self._length_multiple())
        found = (*notes(self._model, *given), *self._placement.notes(self._variant))
        return (*found, self._trainer.note()) if self._trainer else found

    def _make_trainer(self, optimizer):
        # Imports Keras, which takes seconds, and only these phases need it.
        from velodrome.adapters.frameworks.tensorflow.training import Trainer

        self._trainer = Trainer(self._functions, optimizer, self._placement.total)
        self._step = self._function(self._trainer.step, rehearsal=self._trainer.rehearsal)
        self._update = self._placement.run(self._trainer.update)
        if self._variant != "eager":
            self._update = self._trace(self._update)

    def _function(self, call, **options):
        """Return the timed form of a call: traced once for all batches, whatever their lengths.

        options: of WarmCompiledFunction.
        """
        if self._variant == "eager":
            return call
        call = self._placement.run_on_batch(call)
        traced = self._trace(call, input_signature=[_signature(self._batches)])
        if self._variant == "graph":
            return traced
        return WarmCompiledFunction(traced, self._batches, **options)

    def _trace(self, call, **options):
        compiles = self._variant == "xla" and self._placement.total == 1
        return tf.function(call, autograph=False, jit_compile=compiles or None, **options)

    def _load_batch(self, batch):
        parts = divide_batch(batch, self._placement.count)
        return self._placement.place([self._convert_batch(part) for part in parts])

    def _convert_batch(self, batch):
        """Return arrays by name; integers have 64 bits: TensorFlow keeps 32-bit ones off a GPU."""
        time_first = is_time_first(self._model)
        multiple = 1 if batch.lengths is None else self._length_multiple()
        inputs = channels_last.convert_inputs(batch.inputs, multiple, time_first)
        if inputs.dtype.kind == "i":
            inputs = inputs.astype(numpy.int64)
        elif inputs.ndim == 3 and time_first:
            inputs = inputs.swapaxes(0, 1)
        found = {"inputs": inputs}
        if batch.labels is not None:
            labels = batch.labels.T if time_first else batch.labels  # per step, or per example
            found["labels"] = labels.astype(numpy.int64)
        if batch.lengths is not None:
            found["lengths"] = batch.lengths
        return found

    def _length_multiple(self):
        """Return what sequences are padded to multiples of, if all positions have a row for it."""
        padded = shapes.compute_input_shape(self._model)[0]
        padded += -padded % XLA_LENGTH_MULTIPLE
        counts = [
            layer.rows for layer in self._model.layers if isinstance(layer, kinds.LearnedPositions)
        ]
        fits = all(padded <= count for count in counts)
        return XLA_LENGTH_MULTIPLE if self._variant == "xla" and fits else 1


def _signature(batches):
    """Return the batches' shapes; dimensions that differ between batches are left open."""
    found = {}
    for name, tensor in batches[0].items():
        lengths = zip(*[batch[name].shape for batch in batches])
        shape = [own[0] if len(set(own)) == 1 else None for own in lengths]
        found[name] = tf.TensorSpec(shape, tensor.dtype, name)
    return found


def _has_onednn():
    """Return True if TensorFlow is built with oneDNN and no variable switches it off."""
    try:
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:  # no part of what TensorFlow promises to keep
        return False
    return hasattr(_pywrap_util_port, "IsMklEnabled") and _pywrap_util_port.IsMklEnabled()
