"""PyTorch as an adapter.

`forward` runs under no_grad: the loss of a batch with dropout active and nothing kept for a
backward pass. `gradient` is the same call and torch.autograd.grad after it.
"""

import torch
from torch import nn

from velodrome.adapters import contract
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.protocol import monotonic_ns
from velodrome.adapters.torch.modules import LOSSES, MODULES
from velodrome.adapters.torch.network import Network, run

VARIANTS = ("eager", "channels_last", "compile")


class Adapter(contract.Adapter):
    """A handle is (loss or output, gradients in the order of the trained parameters)."""

    modules = MODULES
    losses = LOSSES

    def __init__(self, model, variant, device, threads, dtype):
        if variant not in VARIANTS:
            raise contract.Unsupported(
                "torch has no variant {!r}, only {}".format(variant, ", ".join(VARIANTS))
            )
        if variant == "compile" and _release() < (2, 1):
            raise contract.Unsupported(
                "torch.compile of {} takes gradients for no gradients; 2.1 does not".format(
                    torch.__version__
                )
            )
        if dtype != "float32":
            raise contract.Unsupported("the torch adapter has no {}, only float32".format(dtype))
        self._model, self._variant = model, variant
        self._device = _device(device)
        self._on_gpu = self._device.type == "cuda"
        self._memory_format = (
            torch.channels_last if variant == "channels_last" else torch.contiguous_format
        )
        _set_threads(threads)
        if self._on_gpu:
            _settle_gpu()

    @staticmethod
    def version():
        return torch.__version__

    def device_name(self):
        return torch.cuda.get_device_name(self._device) if self._on_gpu else ""

    def build(self, weights):
        self._network = Network(self._model, self.modules, self.losses)
        trained = self._network.fill(self._model, weights, self._tensor)
        self._names, self._trained = tuple(trained), tuple(trained.values())
        self._parts = self._network.eager()
        if self._variant == "compile":
            _forbid_fallback()
            self._parts = self._network.compiled()

    def load(self, batches):
        self._batches = tuple(self._loaded(batch) for batch in batches)
        if self._has(kinds.Duplicate):  # makes the memory it copies to, which is no compiled code's
            with torch.no_grad():
                run(self._network.eager(), *self._batches[0])

    def set_dropout(self, active):
        # Only these: cuDNN wants an LSTM in training mode to go backward.
        for _, module in self._dropouts():
            module.train(active)

    def forward(self, index):
        with torch.no_grad():
            return run(self._parts, *self._batches[index]), ()

    def gradient(self, index):
        loss = run(self._parts, *self._batches[index])
        return loss, torch.autograd.grad(loss, self._trained)

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
        return handle[0].detach().cpu().contiguous().numpy()

    def kept_shares(self):
        shares, hooks, modes = {}, [], []
        for name, module in self._dropouts():
            hooks.append(module.register_forward_hook(_counting(name, shares)))
            modes.append(module.training)
        self.set_dropout(True)
        with torch.no_grad():
            run(self._network.eager(), *self._batches[0])
        for (_, module), hook, mode in zip(self._dropouts(), hooks, modes):
            hook.remove()
            module.train(mode)
        return shares

    def peak_memory_bytes(self):
        return torch.cuda.max_memory_allocated(self._device) if self._on_gpu else 0

    def notes(self):
        return tuple(self._notes())

    def _tensor(self, array):
        """A copy on the device; images and convolution weights in the variant's layout."""
        tensor = torch.tensor(array, device=self._device)
        return tensor.contiguous(memory_format=self._memory_format) if array.ndim == 4 else tensor

    def _loaded(self, batch):
        """What Network takes. torch wants whole numbers of 64 bit, and an LSTM time first."""
        if self._has(kinds.Embedding):
            inputs = self._tensor(batch.inputs.T.astype("int64"))
        else:
            inputs = self._tensor(batch.inputs)
        labels, lengths = (
            None if array is None else self._tensor(array.astype("int64"))
            for array in (batch.labels, batch.lengths)
        )
        return inputs, labels, lengths

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
            yield "no images: channels_last is eager here"
        if self._has(kinds.Lstm):
            yield "the LSTM runs through the padding, which the mean leaves out"
        if self._variant == "compile" and self._has(kinds.Lstm):
            yield "the LSTM is torch's own operation, what is around it is compiled"
        if self._on_gpu:
            yield "no TF32; cuDNN picks its algorithms by trial"


class EventStopwatch(object):
    """The device's own clock, by CUDA events; `started_ns` is the host's."""

    def __init__(self):
        self._began = torch.cuda.Event(enable_timing=True)
        self._ended = torch.cuda.Event(enable_timing=True)

    def start(self):
        torch.cuda.synchronize()
        started_ns = monotonic_ns()
        self._began.record()
        return started_ns

    def stop(self):
        self._ended.record()
        self._ended.synchronize()
        return int(self._began.elapsed_time(self._ended) * 1e6)


def _counting(name, shares):
    """A forward hook that notes the share of non-zero inputs that are not zero behind the layer."""

    def count(module, inputs, output):
        there = inputs[0] != 0
        shares[name] = float((output[there] != 0).float().mean())

    return count


def _device(device):
    if device == "cpu":
        return torch.device("cpu")
    if device != "gpu":
        raise contract.Unsupported("the torch adapter has no device {!r}".format(device))
    if not torch.backends.cuda.is_built():
        raise contract.Unsupported("this build of torch, {}, has no CUDA".format(torch.__version__))
    if not torch.cuda.is_available():
        raise contract.Unsupported(
            "torch was built for CUDA {} and sees no GPU".format(torch.version.cuda)
        )
    return torch.device("cuda", 0)


def _release():
    return tuple(int(part) for part in torch.__version__.split(".")[:2])


def _set_threads(threads):
    torch.set_num_threads(threads)
    # Only to be set once in a process: torch 2.0 ends the process at the second time.
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)


def _settle_gpu():
    """float32 means float32; shapes are fixed, so that cuDNN's trials pay."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def _forbid_fallback():
    """Beyond its limit of recompilations torch would go on uncompiled and only log it."""
    from torch._dynamo import config  # a second to import, which the other variants do without

    for name in ("fail_on_recompile_limit_hit", "fail_on_cache_limit_hit"):  # newer, older torch
        if hasattr(config, name):
            setattr(config, name, True)
