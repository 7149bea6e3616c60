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
from velodrome.adapters.frameworks.graph import is_time_first, require_options
from velodrome.adapters.frameworks.tensorflow.loading import DatasetReader, read_batch
from velodrome.adapters.frameworks.tensorflow.network import Network
from velodrome.adapters.frameworks.tensorflow.notes import notes
from velodrome.adapters.frameworks.tensorflow.operations import (
    CHOICES,
    LOSSES,
    LOWER_ON_CPU,
    OPERATIONS,
)
from velodrome.adapters.frameworks.warm_compile import WarmCompiledFunction
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
        _set_threads(threads)
        self._gpu = _gpu(device, dtype)
        self._device = "/GPU:0" if self._gpu else "/CPU:0"

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

    def build(self, weights):
        with tf.device(self._device):
            self._network = Network(
                self._model,
                weights,
                self.operations(),
                self.losses,
                self._dtype,
                self._length_multiple(),
            )

    def load(self, batches):
        with tf.device(self._device):
            self._network.reserve(len(batches[0].inputs))
            self._batches = tuple(self._load_batch(batch) for batch in batches)
        if self._forward is None:
            self._forward = self._function(self._network.forward)
            self._gradient = self._function(self._network.gradient)

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
        return float(handle[0])

    def gradients(self, handle):
        return self._network.canonical(handle[1:])

    def output(self, handle):
        return self._network.output(handle)

    def start_inference(self, statistics):
        with tf.device(self._device):
            self._network.assign_statistics(statistics)
        if self._inference is None:
            self._inference = self._function(self._network.inference)

    def inference(self, index):
        return self._inference(self._batches[index])

    def end_inference(self):
        """Do nothing: evaluation is a function of its own."""

    def start_training(self, optimizer, weights):
        with tf.device(self._device):
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
        for name, values in self._network.canonical(self._network.trained):
            yield name, numpy.array(values)  # TensorFlow's own may share the variable's memory

    def kept_shares(self):
        rates = {
            layer.name: layer.rate
            for layer in self._model.layers
            if isinstance(layer, kinds.Dropout)
        }
        return {
            layer.name: contract.measure_kept_share(read[0].numpy(), output.numpy())
            for layer, read, output in self._network.steps(self._batches[0], rates)
            if layer.name in rates
        }

    def peak_memory_bytes(self):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] if self._gpu else 0

    def kernels(self):
        """Return eigen and onednn; TensorFlow does not report oneDNN's version or instructions."""
        names = ("eigen", "onednn") if _has_onednn() else ("eigen",)
        return tuple("{} via tensorflow {}".format(name, tf.__version__) for name in names)

    def notes(self):
        found = notes(
            self._model, self._variant, bool(self._gpu), self._dtype, self._length_multiple()
        )
        return (*found, self._trainer.note()) if self._trainer else tuple(found)

    def _make_trainer(self, optimizer):
        # Imports Keras, which takes seconds, and only these phases need it.
        from velodrome.adapters.frameworks.tensorflow.training import Trainer

        self._trainer = Trainer(self._network, optimizer)
        self._step = self._function(self._trainer.step, rehearsal=self._trainer.rehearsal)
        self._update = self._trainer.update
        if self._variant != "eager":
            self._update = self._trace(self._trainer.update)

    def _function(self, call, **options):
        """Return the timed form of a call: traced once for all batches, whatever their lengths.

        options: of WarmCompiledFunction.
        """
        if self._variant == "eager":
            return call
        traced = self._trace(call, input_signature=[_signature(self._batches)])
        if self._variant == "graph":
            return traced
        return WarmCompiledFunction(traced, self._batches, **options)

    def _trace(self, call, **options):
        compiles = True if self._variant == "xla" else None
        return tf.function(call, autograph=False, jit_compile=compiles, **options)

    def _load_batch(self, batch):
        """Load a batch; integers have 64 bits, since TensorFlow keeps 32-bit ones off a GPU."""
        time_first = is_time_first(self._model)
        multiple = 1 if batch.lengths is None else self._length_multiple()
        inputs = channels_last.convert_inputs(batch.inputs, multiple, time_first)
        if inputs.dtype.kind == "i":
            inputs = inputs.astype(numpy.int64)
        elif inputs.ndim == 3 and time_first:
            inputs = inputs.swapaxes(0, 1)
        found = {"inputs": tf.constant(inputs)}
        if batch.labels is not None:
            labels = batch.labels.T if time_first else batch.labels  # per step, or per example
            found["labels"] = tf.constant(labels.astype(numpy.int64))
        if batch.lengths is not None:
            found["lengths"] = tf.constant(batch.lengths)
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


def _set_threads(threads):
    """Run one operation at a time, so that no more than `threads` threads compute."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _gpu(device, dtype):
    """Return the first visible GPU; None for the CPU."""
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return None
    if not tf.test.is_built_with_cuda():
        raise contract.Unsupported(
            "this build of TensorFlow, {}, has no CUDA".format(tf.__version__)
        )
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise contract.Unsupported(
            "TensorFlow {} was built for CUDA and sees no GPU".format(tf.__version__)
        )
    tf.config.set_visible_devices(gpus[:1], "GPU")
    tf.config.experimental.set_memory_growth(gpus[0], True)  # noqa: FBT003
    tf.config.experimental.enable_tensor_float_32_execution(dtype == "tf32")
    return gpus[0]


def _has_onednn():
    """Return True if TensorFlow is built with oneDNN and no variable switches it off."""
    try:
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:  # no part of what TensorFlow promises to keep
        return False
    return hasattr(_pywrap_util_port, "IsMklEnabled") and _pywrap_util_port.IsMklEnabled()
