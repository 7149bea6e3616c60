"""Adapter for PyTorch: builds a model from weights, computes its loss, output and gradients.

`forward` runs under no_grad: the loss of a batch with dropout active and nothing kept for a
backward pass. `gradient` is the same call and torch.autograd.grad after it.
"""

import torch
from torch import nn

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.graph import is_time_first
from velodrome.adapters.frameworks.torch import (
    built_in,
    collectives,
    copies,
    dropouts,
    parallel,
    precision,
    sharding,
)
from velodrome.adapters.frameworks.torch.device import EventStopwatch, find, settle
from velodrome.adapters.frameworks.torch.loading import DatasetReader, read_batch
from velodrome.adapters.frameworks.torch.modules import LOSSES, MODULES
from velodrome.adapters.frameworks.torch.network import Network
from velodrome.adapters.frameworks.torch.steps import ComposedRmsNorm
from velodrome.adapters.frameworks.torch.training import Trainer, describe_optimizer
from velodrome.adapters.frameworks.torch.variants import (
    BY_TRIAL,
    CUDNN_CHOICES,
    forbid_fallback,
    require_device,
    require_variant,
)
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.collectives import find_operation


class Adapter(contract.Adapter):
    """A handle is (loss or output, gradients in the order of the trained parameters)."""

    group_form = contract.BY_PROCESSES
    modules = MODULES
    losses = LOSSES

    def __init__(self, model, variant, device, threads, dtype):
        require_variant(variant, dtype)
        require_device(variant, device)
        if model.is_collective:
            collectives.require_plain(variant, dtype)
            self.waits_by_design = collectives.WAITS
        self._model, self._variant, self._dtype = model, variant, dtype
        self._device = find(device)
        precision.require_precision(self._device, dtype)
        self._on_gpu = self._device.type == "cuda"
        self._is_sharded = variant == "fsdp"
        self._memory_format = (
            torch.channels_last if variant == "channels_last" else torch.contiguous_format
        )
        settle(self._device, threads, dtype, CUDNN_CHOICES.get(variant, BY_TRIAL))
        self._infer = self._trainer = self._copier = None
        self._group = contract.Group()
        self._drops = True  # as torch's modules begin

    @staticmethod
    def version():
        return torch.__version__

    def device_name(self):
        return torch.cuda.get_device_name(self._device) if self._on_gpu else ""

    def meet(self, host):
        return parallel.open_store(host)

    def join(self, group):
        self._device = parallel.join_group(group, self._device)
        self._group = group

    def build(self, weights):
        if self._has(kinds.Lstm):
            precision.require_lstm(self._device, self._dtype)
        self._network = Network(self._model, self.modules, self.losses)
        if self._is_sharded:
            self._build_sharded(weights)
        else:
            self._build_whole(weights)
        self._call, self._train = (
            precision.run_in_autocast(call, self._device, self._dtype)
            for call in (self._call, self._train)
        )

    def _build_whole(self, weights):
        trained = self._network.fill(self._model, weights, self._tensor)
        self._names, self._trained = tuple(trained), tuple(trained.values())
        self._eager = self._call = self._network.eager()
        if self._variant == "compile":
            forbid_fallback()
            self._call = self._network.compile_steps()
        if self._model.is_transfer:
            copies.require_plain(self._variant, self._dtype)
            self._copier = copies.TorchCopier(self._model, self._device, self._group)
            self._call = self._copier
        self._train = self._call
        if self._group.size > 1 and self._trained:
            modules = [step.module for step in self._network.steps]
            self._train = parallel.wrap_loss(modules, self._call, self._device)

    def _build_sharded(self, weights):
        sharding.require_group(self._group)
        whole = self._network.fill(self._model, weights, torch.tensor)  # on the host
        self._sharded, trained = sharding.shard(self._network, whole, self._device)
        self._names, self._trained = tuple(trained), tuple(trained.values())
        self._eager = self._call = self._sharded.loss
        self._train = self._sharded.differentiable

    def load(self, batches):
        self._batches = tuple(self._load_batch(batch) for batch in batches)
        if self._has(kinds.Duplicate):  # makes the memory it copies to, which is no compiled code's
            with torch.no_grad():
                self._eager(*self._batches[0])
        operation = find_operation(self._model)
        if operation:  # in all processes at once, as each loads its share
            collectives.try_once(operation, self._eager, self._batches[0])

    def set_parameter(self, name, values):
        sharding.assign(self._trained[self._names.index(name)], self._tensor(values))

    def set_dropout(self, active):
        self._drops = active
        dropouts.set_dropout(self._network, active)

    def forward(self, index):
        with torch.no_grad():
            return self._call(*self._batches[index]), ()

    def gradient(self, index):
        loss = self._train(*self._batches[index])
        return loss, self._differentiate(loss)

    def start_inference(self, statistics):
        for step in self._network.steps:
            step.module.eval()
            if isinstance(step.module, nn.BatchNorm2d):
                step.module.running_mean, step.module.running_var = (
                    self._tensor(statistics["{}.{}".format(step.name, role)])
                    for role in ("mean", "variance")
                )
        if self._infer is None:
            call = self._make_inference()
            self._infer = precision.run_in_autocast(call, self._device, self._dtype)

    def _make_inference(self):
        if self._is_sharded:
            return self._sharded.output
        if self._variant == "compile":
            return self._network.compile_steps(without_loss=True)
        return self._network.eager(without_loss=True)

    def inference(self, index):
        # FSDP keeps its gathered parameters, and of inference_mode they could not be trained.
        with torch.no_grad() if self._is_sharded else torch.inference_mode():
            return self._infer(*self._batches[index]), ()

    def end_inference(self):
        for step in self._network.steps:
            step.module.train(self._drops or not isinstance(step.module, nn.Dropout))

    def start_training(self, optimizer, weights):
        for name, parameter in zip(self._names, self._trained):
            sharding.assign(parameter, self._tensor(weights[name]))
        self._trainer = Trainer(optimizer, self._trained, self._dtype)

    def keep_gradients(self, index):
        handle = self.gradient(index)
        self._trainer.keep(handle[1])
        return handle

    def update(self):
        self._trainer.update()

    def step(self, index):
        self._trainer.clear()
        loss = self._train(*self._batches[index])
        self._trainer.step(loss)
        return loss, ()

    def parameters(self):
        for name, parameter in zip(self._names, self._trained):
            yield name, _copy_to_host(sharding.gather(parameter))

    def own_parameters(self):
        for name, parameter in zip(self._names, self._trained):
            yield name, _copy_to_host(sharding.take_own(parameter))

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
            yield name, _read(sharding.gather(gradient))

    def own_gradients(self, handle):
        for name, gradient in zip(self._names, handle[1]):
            yield name, _read(sharding.take_own(gradient))

    def output(self, handle):
        output = handle[0].detach().float().cpu()
        if output.ndim == 3 and is_time_first(self._model):
            output = output.transpose(0, 1)
        return output.contiguous().numpy()

    def kept_shares(self):
        return dropouts.measure_kept_shares(self._network, lambda: self._eager(*self._batches[0]))

    def peak_memory_bytes(self):
        return torch.cuda.max_memory_allocated(self._device) if self._on_gpu else 0

    def kernels(self):
        return tuple(built_in.kernels(torch.__config__.show(), torch.__version__))

    def notes(self):
        return tuple(self._notes())

    def _differentiate(self, loss):
        form = parallel if self._group.size > 1 else precision
        return form.differentiate(loss, self._trained, self._dtype)

    def _tensor(self, array):
        """Copy to the device; images and convolution weights have the variant's layout."""
        layout = self._memory_format if array.ndim == 4 else torch.contiguous_format
        return torch.tensor(array, device=self._device).contiguous(memory_format=layout)

    def _load_batch(self, batch):
        """Return Network's arguments. torch needs 64-bit integers, and an LSTM time first."""
        inputs, labels, lengths = batch
        if self._copier:
            return self._copier.place(inputs), labels, lengths
        if is_time_first(self._model):
            inputs = inputs.swapaxes(0, 1)
            labels = labels.T if labels is not None else None  # per example, or per step
        return tuple(
            None if array is None else self._tensor(_widen(array))
            for array in (inputs, labels, lengths)
        )

    def _has(self, kind):
        return any(isinstance(layer, kind) for layer in self._model.layers)

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
            yield describe_optimizer(self._trainer, self._variant)
        for note in precision.describe(self._device, self._dtype):
            yield note
        if self._model.is_collective:
            yield from collectives.describe(find_operation(self._model), self._group.size)
        elif self._copier:
            yield from self._copier.describe()
        elif self._group.size > 1:
            form = sharding if self._is_sharded else parallel
            yield from form.describe(self._group.size)


def _read(tensor):
    return tensor.detach().cpu().contiguous().numpy()


def _copy_to_host(tensor):
    return tensor.detach().to("cpu", copy=True).contiguous().numpy()


def _widen(array):
    return array.astype("int64") if array.dtype.kind == "i" else array
