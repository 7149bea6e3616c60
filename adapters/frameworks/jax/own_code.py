"""Adapter for a user's code in JAX: parameters are arrays by name, forward returns the loss."""

import jax
import numpy

from velodrome.adapters.frameworks.graph import require_options
from velodrome.adapters.frameworks.jax.device import find_device
from velodrome.adapters.frameworks.jax.placement import OneDevice
from velodrome.adapters.own_code import inputs
from velodrome.adapters.own_code.adapter import FLOAT64, NOTE, CodeAdapter
from velodrome.adapters.own_code.loading import load_code

VARIANTS = ("jit", "eager")


class Adapter(CodeAdapter):
    """A handle is (loss, gradients by name)."""

    def __init__(self, model, variant, device, threads, dtype):
        require_options("jax", (variant, VARIANTS), (dtype, ("float32", FLOAT64)))
        self._variant, self._dtype = variant, dtype
        # Before the file is run: it may make arrays when it is loaded.
        jax.config.update("jax_enable_x64", dtype == FLOAT64)
        self._device = find_device(device, "float32")  # float64 needs no other
        self._on_gpu = device == "gpu"
        self._placement = OneDevice(self._device, queues=self._on_gpu)
        self.code = load_code(model)

    @staticmethod
    def version():
        return jax.__version__

    def device_name(self):
        return self._device.device_kind if self._on_gpu else ""

    def build(self, weights):
        numpy.random.seed(self.read_seed(weights))
        found = self.code.call(self.code.make)
        if not isinstance(found, dict) or not found:
            problem = "make() returned a {}".format(type(found).__name__)
            raise self.code.reject(self.code.make, problem, "Return a dict of arrays by name")
        arrays = {name: numpy.asarray(value, numpy.float32) for name, value in found.items()}
        self._parameters = {name: self._put(array) for name, array in arrays.items()}

        def compute_loss(parameters, batch):
            return self.read_loss(self.code.forward(parameters, batch))

        self._forward = compute_loss
        self._gradient = self.code.gradient or jax.value_and_grad(compute_loss)
        self._inference = self.code.inference
        if self._variant == "jit":
            self._forward, self._gradient = jax.jit(self._forward), jax.jit(self._gradient)
            self._inference = self._inference and jax.jit(self._inference)

    def load(self, batches):
        self._batches = tuple(
            {name: self._put(array) for name, array in inputs.split_arrays(batch).items()}
            for batch in batches
        )
        jax.block_until_ready(self._batches)

    def set_parameter(self, name, values):
        self._parameters[name] = self._put(numpy.asarray(values))

    def parameters(self):
        for name, value in self._parameters.items():
            yield name, numpy.array(value)

    def forward(self, index):
        return self._call(self._forward, self.code.forward, index), {}

    def gradient(self, index):
        function = self.code.gradient or self.code.forward
        return self.read_gradient(self._call(self._gradient, function, index))

    def start_inference(self, statistics):
        """Do nothing: the file's function for inference is one of its own."""

    def inference(self, index):
        return self._call(self._inference, self.code.inference, index), index

    def end_inference(self):
        """Do nothing."""

    def output(self, handle):
        examples = inputs.count_examples(self._batches[handle[1]])
        return self.require_output(numpy.asarray(self._placement.copy(handle[0])), examples)

    def synchronize(self):
        self._placement.synchronize()

    def loss(self, handle):
        self.require_scalar(handle[0].shape)
        return float(handle[0])

    def gradients(self, handle):
        for name, gradient in handle[1].items():
            yield name, numpy.asarray(self._placement.copy(gradient))

    def notes(self):
        return (NOTE,)

    def _put(self, array):
        wide = self._dtype == FLOAT64 and array.dtype.kind == "f"
        return jax.device_put(array.astype(numpy.float64) if wide else array, self._device)

    def _call(self, call, function, index):
        try:
            return self._placement.run(call, self._parameters, self._batches[index])
        except Exception as error:
            raise self.code.explain(error, function) from error
