"""Adapter for a user's code in PyTorch: a module with a loss, such as one of Hugging Face."""

import contextlib
import functools
import random

import numpy
import torch
from torch import nn

from velodrome.adapters import contract
from velodrome.adapters.frameworks.graph import require_options
from velodrome.adapters.frameworks.torch import built_in, precision
from velodrome.adapters.frameworks.torch.device import EventStopwatch, find, settle
from velodrome.adapters.frameworks.torch.rounded_products import RoundedProducts, composed_attention
from velodrome.adapters.frameworks.torch.training import Trainer, describe_optimizer
from velodrome.adapters.frameworks.torch.variants import CUDNN_CHOICES
from velodrome.adapters.frameworks.torch.version import RELEASE
from velodrome.adapters.own_code import inputs
from velodrome.adapters.own_code.adapter import FLOAT64, NOTE, CodeAdapter
from velodrome.adapters.own_code.loading import load_code
from velodrome.adapters.tolerances import DTYPES

VARIANTS = ("eager", "compile")


class Adapter(CodeAdapter):
    """A handle is (loss, gradients in the order of the trained parameters, or by their names)."""

    def __init__(self, model, variant, device, threads, dtype):
        require_options("torch", (dtype, DTYPES + (FLOAT64,)))
        if variant == "fsdp":
            raise contract.Unsupported("user's code runs on one device, where nothing is sharded")
        if variant in CUDNN_CHOICES:
            raise contract.Unsupported("user's code decides how cuDNN chooses itself")
        if variant not in VARIANTS:
            raise contract.Unsupported("user's code decides the layout of memory itself")
        if variant == "compile" and RELEASE < (2, 1):
            raise contract.Unsupported("compile needs torch 2.1 or newer")
        self._variant, self._dtype = variant, dtype
        self._device = find(device)
        self._on_gpu = self._device.type == "cuda"
        if dtype != FLOAT64:
            precision.require_precision(self._device, dtype)
        settle(self._device, threads, dtype)
        self.code = load_code(model)

    @staticmethod
    def version():
        return torch.__version__

    def device_name(self):
        return torch.cuda.get_device_name(self._device) if self._on_gpu else ""

    def build(self, weights):
        self._module, self._trainer = self._make(self.read_seed(weights)), None
        trained = [pair for pair in self._module.named_parameters() if pair[1].requires_grad]
        self._trained = dict(trained)
        self._values = tuple(self._trained.values())
        forward = self.code.forward or _call_module

        def compute_loss(batch):
            return self.read_loss(forward(self._module, batch))

        self._call = compute_loss
        if self._variant == "compile" and self._dtype != FLOAT64:
            self._call = torch.compile(compute_loss)
        self._call = precision.run_in_autocast(self._call, self._device, self._dtype)
        self._infer = self._module_modes = None
        self._buffers = {name: value.clone() for name, value in self._module.named_buffers()}
        self._own_gradient = self.code.gradient
        if self._own_gradient:
            if self._variant == "compile":
                raise contract.Unsupported("the file's own gradient() is not compiled")
            self._own_gradient = precision.run_in_autocast(
                self._own_gradient, self._device, self._dtype
            )

    def load(self, batches):
        self._batches = tuple(
            {name: self._tensor(array) for name, array in inputs.split_arrays(batch).items()}
            for batch in batches
        )

    def set_parameter(self, name, values):
        with torch.no_grad():
            self._trained[name].copy_(torch.from_numpy(values))

    def parameters(self):
        for name, value in self._trained.items():
            yield name, value.detach().to("cpu", copy=True).contiguous().numpy()

    def start_training(self, optimizer, weights):
        for name, values in weights.items():
            self.set_parameter(name, values)
        self._trainer = Trainer(optimizer, self._values, self._dtype)

    def keep_gradients(self, index):
        handle = self.gradient(index)
        gradients = dict(self._pair(handle))
        self._trainer.keep([gradients[name] for name in self._trained])
        return handle

    def update(self):
        self._trainer.update()

    def step(self, index):
        if self._own_gradient:
            handle = self.keep_gradients(index)
            self._trainer.update()
            return handle
        try:
            self._trainer.clear()
            loss = self._call(self._batches[index])
            self._trainer.step(loss)
            return loss, ()
        except Exception as error:
            raise self.code.explain(error, self.code.forward or self.code.make) from error

    def start_inference(self, statistics):
        """Enter evaluation mode, with the buffers that make() gave: calls in training move some."""
        self._module_modes = [(module, module.training) for module in self._module.modules()]
        self._module.eval()
        with torch.no_grad():
            for name, value in self._module.named_buffers():
                value.copy_(self._buffers[name])
        if self._infer is None:
            call = functools.partial(self.code.inference, self._module)
            if self._variant == "compile" and self._dtype != FLOAT64:
                call = torch.compile(call)
            self._infer = precision.run_in_autocast(call, self._device, self._dtype)

    def inference(self, index):
        try:
            with torch.inference_mode():
                return self._infer(self._batches[index]), index
        except Exception as error:
            raise self.code.explain(error, self.code.inference) from error

    def end_inference(self):
        for module, training in self._module_modes:
            module.training = training

    def output(self, handle):
        found, index = handle
        if not isinstance(found, torch.Tensor):
            problem = "inference() returned a {}".format(type(found).__name__)
            mend = "Return a tensor, such as the logits"
            raise self.code.reject(self.code.inference, problem, mend)
        found = found if self._dtype == FLOAT64 else found.float()
        examples = inputs.count_examples(self._batches[index])
        return self.require_output(found.cpu().numpy(), examples)

    def forward(self, index):
        try:
            with torch.no_grad():
                return self._call(self._batches[index]), ()
        except Exception as error:
            raise self.code.explain(error, self.code.forward or self.code.make) from error

    def gradient(self, index):
        try:
            if self._own_gradient:
                return self.read_gradient(self._own_gradient(self._module, self._batches[index]))
            loss = self._call(self._batches[index])
            if not isinstance(loss, torch.Tensor) or loss.dim():
                self._require_loss(loss)
            return loss, precision.differentiate(loss, self._values, self._dtype)
        except Exception as error:
            function = self.code.gradient or self.code.forward or self.code.make
            raise self.code.explain(error, function) from error

    def synchronize(self):
        if self._on_gpu:
            torch.cuda.synchronize(self._device)

    def stopwatch(self):
        return EventStopwatch() if self._on_gpu else contract.HostStopwatch(self.synchronize)

    def loss(self, handle):
        self._require_loss(handle[0])
        return float(handle[0].detach())

    def gradients(self, handle):
        for name, gradient in self._pair(handle):
            if gradient is not None:
                yield name, gradient.detach().cpu().contiguous().numpy()

    def peak_memory_bytes(self):
        return torch.cuda.max_memory_allocated(self._device) if self._on_gpu else 0

    def kernels(self):
        return tuple(built_in.kernels(torch.__config__.show(), torch.__version__))

    def notes(self):
        mode = "training" if self._module.training else "evaluation"
        own = (NOTE, "the module is in its {} mode".format(mode))
        if self._trainer is not None:
            own += (describe_optimizer(self._trainer, self._variant),)
        return own + tuple(precision.describe(self._device, self._dtype))

    @contextlib.contextmanager
    def round_products(self, dtype):
        with composed_attention(), RoundedProducts(dtype) as products:
            yield products

    def _make(self, seed):
        """Return the module, on the device; drawn on the CPU in float32, so equal everywhere."""
        random.seed(seed)
        numpy.random.seed(seed)
        torch.manual_seed(seed)
        module = self.code.call(self.code.make)
        if not isinstance(module, nn.Module):
            problem = "make() returned a {}".format(type(module).__name__)
            raise self.code.reject(self.code.make, problem, "Return a torch.nn.Module")
        for name, value in module.named_parameters():
            if value.dtype != torch.float32 or value.device.type != "cpu":
                problem = "make() gave {} in {} on {}".format(name, value.dtype, value.device)
                mend = "Leave it in float32 on the CPU: the task decides precision and device"
                raise self.code.reject(self.code.make, problem, mend)
        if self._dtype == FLOAT64:
            module = module.double()
        return module.to(self._device)

    def _require_loss(self, loss):
        """Raise CodeFailed unless a loss is a tensor of one number."""
        if not isinstance(loss, torch.Tensor):
            problem = "the loss is a {}".format(type(loss).__name__)
            function = self.code.forward or self.code.make
            raise self.code.reject(function, problem, "Return a tensor, or an output with .loss")
        self.require_scalar(loss.shape)

    def _pair(self, handle):
        """Return (name, gradient) pairs of a handle."""
        found = handle[1]
        return found.items() if isinstance(found, dict) else zip(self._trained, found)

    def _tensor(self, array):
        tensor = torch.tensor(array, device=self._device)
        return tensor.double() if self._dtype == FLOAT64 and array.dtype.kind == "f" else tensor


def _call_module(module, batch):
    return module(**batch)
