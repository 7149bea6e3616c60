"""Adapter for PyTorch: builds a model from weights, computes its loss, output and gradients.

`forward` runs under no_grad: the loss of a batch with dropout active and nothing kept for a
backward pass. `gradient` is the same call and torch.autograd.grad after it.
"""

import torch
from torch import nn

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.graph import is_time_first, require_options
from velodrome.adapters.frameworks.torch import built_in, precision
from velodrome.adapters.frameworks.torch.device import EventStopwatch, find, settle
from velodrome.adapters.frameworks.torch.loading import DatasetReader, read_batch
from velodrome.adapters.frameworks.torch.modules import LOSSES, MODULES
from velodrome.adapters.frameworks.torch.network import Network
from velodrome.adapters.frameworks.torch.steps import ComposedRmsNorm
from velodrome.adapters.frameworks.torch.training import Trainer
from velodrome.adapters.frameworks.torch.version import RELEASE
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.tolerances import DTYPES

VARIANTS = ("eager", "channels_last", "compile")


class Adapter(contract.Adapter):
    """A handle is (loss or output, gradients in the order of the trained parameters)."""

    modules = MODULES
    losses = LOSSES

    def __init__(self, model, variant, device, threads, dtype):
        _require(variant, dtype)
        self._model, self._variant, self._dtype = model, variant, dtype
        self._device = find(device)
        precision.require_precision(self._device, dtype)
        self._on_gpu = self._device.type == "cuda"
        self._memory_format = (
            torch.channels_last if variant == "channels_last" else torch.contiguous_format
        )
        settle(self._device, threads, dtype)
        self._infer = self._trainer = None
        self._drops = True  # as torch's modules begin

    @staticmethod
    def version():
        return torch.__version__

    def device_name(self):
        return torch.cuda.get_device_name(self._device) if self._on_gpu else ""

    def build(self, weights):
        if self._has(kinds.Lstm):
            precision.require_lstm(self._device, self._dtype)
        self._network = Network(self._model, self.modules, self.losses)
        trained = self._network.fill(self._model, weights, self._tensor)
        self._names, self._trained = tuple(trained), tuple(trained.values())
        self._eager = self._call = self._network.eager()
        if self._variant == "compile":
            _forbid_fallback()
            self._call = self._network.compile_steps()
        self._call = precision.run_in_autocast(self._call, self._device, self._dtype)

    def load(self, batches):
        self._batches = tuple(self._load_batch(batch) for batch in batches)
        if self._has(kinds.Duplicate):  # makes the memory it copies to, which is no compiled code's
            with torch.no_grad():
                self._eager(*self._batches[0])

    def set_parameter(self, name, values):
        with torch.no_grad():
            self._trained[self._names.index(name)].copy_(self._tensor(values))

    def set_dropout(self, active):
        # Only these: cuDNN wants an LSTM in training mode to go backward.
        self._drops = active
        for _, module in self._dropouts():
            module.train(active)

    def forward(self, index):
        with torch.no_grad():
            return self._call(*self._batches[index]), ()

    def gradient(self, index):
        loss = self._call(*self._batches[index])
        return loss, precision.differentiate(loss, self._trained, self._dtype)

    def start_inference(self, statistics):
        for step in self._network.steps:
            step.module.eval()
            if isinstance(step.module, nn.BatchNorm2d):
                step.module.running_mean, step.module.running_var = (
                    self._tensor(statistics["{}.{}".format(step.name, role)])
                    for role in ("mean", "variance")
                )
        if self._infer is None:
            make = self._network.eager
            if self._variant == "compile":
                make = self._network.compile_steps
            call = make(without_loss=True)
            self._infer = precision.run_in_autocast(call, self._device, self._dtype)

    def inference(self, index):
        with torch.inference_mode():
            return self._infer(*self._batches[index]), ()

    def end_inference(self):
        for step in self._network.steps:
            step.module.train(self._drops or not isinstance(step.module, nn.Dropout))

    def start_training(self, optimizer, weights):
        with torch.no_grad():
            for name, parameter in zip(self._names, self._trained):
                parameter.copy_(self._tensor(weights[name]))
        self._trainer = Trainer(optimizer, self._trained, self._dtype)

    def keep_gradients(self, index):
        handle = self.gradient(index)
        self._trainer.keep(handle[1])
        return handle

    def update(self):
        self._trainer.update()

    def step(self, index):
        self._trainer.clear()
        loss = self._call(*self._batches[index])
        self._trainer.step(loss)
        return loss, ()

    def parameters(self):
        for name, parameter in zip(self._names, self._trained):
            yield name, parameter.detach().to("cpu", copy=True).contiguous().numpy()

    def start_loading(self, dataset, workers):
        self._reader = DatasetReader(
            dataset, workers, self._device, self._memory_format, is_time_first(self._model)
        )

    def next_batch(self):
        return self._reader.take()

    def fed_gradient(self):
        loss = self._call(*self._reader.take())
        return loss, precision.differentiate(loss, self._trained, self._dtype)

    def loaded(self, handle):
        return read_batch(handle, is_time_first(self._model))

    def end_loading(self):
        self._reader.close()

    def synchronize(self):
        if self._on_gpu:
            torch.cuda.synchronize(self._device)

    def stopwatch(self):
        return EventStopwatch() if self._on_gpu else contract.HostStopwatch(self.synchronize)

    def loss(self, handle):
        return float(handle[0].detach())

    def gradients(self, handle):
        for name, gradient in zip(self._names, handle[1]):
            yield name, gradient.detach().cpu().contiguous().numpy()

    def output(self, handle):
        output = handle[0].detach().float().cpu()
        if output.ndim == 3 and is_time_first(self._model):
            output = output.transpose(0, 1)
        return output.contiguous().numpy()

    def kept_shares(self):
        shares, hooks, modes = {}, [], []
        for name, module in self._dropouts():
            hooks.append(module.register_forward_hook(_make_hook(name, shares)))
            modes.append(module.training)
        self.set_dropout(True)
        with torch.no_grad():
            self._eager(*self._batches[0])
        for (_, module), hook, mode in zip(self._dropouts(), hooks, modes):
            hook.remove()
            module.train(mode)
        return shares

    def peak_memory_bytes(self):
        return torch.cuda.max_memory_allocated(self._device) if self._on_gpu else 0

    def kernels(self):
        return tuple(built_in.kernels(torch.__config__.show(), torch.__version__))

    def notes(self):
        return tuple(self._notes())

    def _tensor(self, array):
        """Copy to the device; images and convolution weights have the variant's layout."""
        layout = self._memory_format if array.ndim == 4 else torch.contiguous_format
        return torch.tensor(array, device=self._device).contiguous(memory_format=layout)

    def _load_batch(self, batch):
        """Return Network's arguments. torch needs 64-bit integers, and an LSTM time first."""
        inputs, labels, lengths = batch
        if is_time_first(self._model):
            inputs = inputs.swapaxes(0, 1)
            labels = labels.T if labels is not None else None  # per example, or per step
        return tuple(
            None if array is None else self._tensor(_widen(array))
            for array in (inputs, labels, lengths)
        )

    def _has(self, kind):
        return any(isinstance(layer, kind) for layer in self._model.layers)

    def _dropouts(self):
        return [
            (step.name, step.module)
            for step in self._network.steps
            if isinstance(step.module, nn.Dropout)
        ]

    def _notes(self):
        if self._variant == "channels_last" and not self._has(kinds.Conv):
            yield "without images channels_last is eager"
        for kind in (kinds.Lstm, kinds.Gru):
            if self._has(kind):
                name = kind.__name__.upper()
                yield "the {} runs through the padding, which the mean leaves out".format(name)
                if self._variant == "compile":
                    yield "the {} is torch's own; only other operations are compiled".format(name)
        if any(isinstance(step.module, ComposedRmsNorm) for step in self._network.steps):
            yield format_note(kinds.RmsNorm, "of the mean of squares, a root and a product")
        if self._trainer is not None:
            yield "torch's {} optimizer".format(self._trainer.kind)
        for note in precision.describe(self._device, self._dtype):
            yield note


def _require(variant, dtype):
    require_options("torch", (variant, VARIANTS), (dtype, DTYPES))
    if variant == "compile" and RELEASE < (2, 1):
        raise contract.Unsupported(
            "torch {} loses the gradients of compiled code; compile needs 2.1 or newer".format(
                torch.__version__
            )
        )


def _widen(array):
    return array.astype("int64") if array.dtype.kind == "i" else array


def _make_hook(name, shares):
    """Return a forward hook that records the share of non-zero inputs with a non-zero output."""

    def count(module, inputs, output):
        is_nonzero = inputs[0] != 0
        shares[name] = float((output[is_nonzero] != 0).float().mean())

    return count


def _forbid_fallback():
    """Make torch fail beyond its limit of recompilations, instead of continuing uncompiled."""
    from torch._dynamo import config  # takes a second to import, and only this variant needs it

    for name in ("fail_on_recompile_limit_hit", "fail_on_cache_limit_hit"):  # newer, older torch
        if hasattr(config, name):
            setattr(config, name, True)
