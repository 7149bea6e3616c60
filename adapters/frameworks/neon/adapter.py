"""Adapter for neon: builds a model from weights, computes its results and takes training steps.

A call returns when it is done: the CPU backends have no queue. The gradients of a call lie in the
layers until the next one; a handle is the loss, the output and the network that holds them. All
networks share parameters and gradients, so that the optimizer works on the first one's.
"""

import logging

import neon
from neon import NervanaObject
from neon.backends import gen_backend
from neon.backends.util.check_mkl import get_mkl_lib

from velodrome.adapters import contract
from velodrome.adapters.composed_ops import format_note
from velodrome.adapters.frameworks.graph import require_options
from velodrome.adapters.frameworks.neon import layouts
from velodrome.adapters.frameworks.neon.network import Network, require_supported
from velodrome.adapters.frameworks.neon.optimizer import (
    DecayedAdam,
    make_optimizer,
    reset_states,
)
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.optimizers import AdamW

VARIANTS = ("cpu", "mkl")


class Adapter(contract.Adapter):
    """Variants are neon's backends. Threads are those of the BLAS, set by the agent's variables."""

    early_epsilon = True

    def __init__(self, model, variant, device, threads, dtype):
        _require(variant, device, dtype)
        self._model, self._variant = model, variant
        logging.getLogger("neon").setLevel(logging.ERROR)
        gen_backend(backend=variant, rng_seed=0)
        self._networks, self._optimizer = {}, None

    @staticmethod
    def version():
        return neon.__version__

    def build(self, weights):
        """Keep the weights; load makes the layers, once the batch size is known."""
        require_supported(self._model)
        self._weights = weights

    def load(self, batches):
        if not self._networks:
            self._make(batches)
        self._batches = [(self._networks[_steps(batch)], self._upload(batch)) for batch in batches]

    def set_parameter(self, name, values):
        self._first.assign(name, values)

    def set_dropout(self, active):
        for network in self._networks.values():
            network.set_dropout(active)

    def forward(self, index):
        network, batch = self._batches[index]
        return network.forward(batch) + (network,)

    def gradient(self, index):
        network, batch = self._batches[index]
        return network.gradient(batch) + (network,)

    def start_inference(self, statistics):
        for network in self._networks.values():
            network.set_statistics(statistics)

    def inference(self, index):
        network, batch = self._batches[index]
        return None, network.evaluate(batch), network

    def end_inference(self):
        """Do nothing: calls of training read no running statistics."""

    def start_training(self, optimizer, weights):
        self._first.fill_trained(weights)
        reset_states(self._first.list_optimized())
        self._optimizer = make_optimizer(optimizer, NervanaObject.be.bsz)

    def keep_gradients(self, index):
        self._kept = self.gradient(index)
        return self._kept

    def update(self):
        self._optimizer.optimize(self._first.list_optimized(), epoch=0)
        return self._kept

    def step(self, index):
        handle = self.gradient(index)
        self._optimizer.optimize(self._first.list_optimized(), epoch=0)
        return handle

    def parameters(self):
        return self._first.parameters()

    def synchronize(self):
        """Return at once: a call returns when all is computed."""

    def loss(self, handle):
        return float(handle[0][0, 0])

    def gradients(self, handle):
        return handle[2].gradients()

    def output(self, handle):
        last = self._model.layers[-1].name
        shape = shapes.compute_output_shapes(self._model)[last]
        return layouts.output(handle[1].get(), shape, NervanaObject.be.bsz)

    def kept_shares(self):
        self.set_dropout(True)
        network, batch = self._batches[0]
        return network.kept_shares(batch)

    def notes(self):
        found = tuple(_notes(self._model))
        if isinstance(self._optimizer, DecayedAdam):
            found += (format_note(AdamW, "of a decay of each parameter and neon's Adam"),)
        return found

    def _make(self, batches):
        """Make a network for each sequence length, all with the parameters of the first."""
        size, first = len(batches[0].inputs), None
        NervanaObject.be.bsz = size
        for steps in sorted({_steps(batch) for batch in batches}, reverse=True):
            shape = (steps,) if steps else shapes.compute_input_shape(self._model)
            if isinstance(self._model.input, kinds.States):
                shape = shape[::-1]
            self._networks[steps] = Network(self._model, shape, size, first)
            first = first or self._networks[steps]
        first.fill(self._weights)
        self._first, self._weights = first, None

    def _upload(self, batch):
        """Load a batch as tensors by name, with the batch as the last axis."""
        be = NervanaObject.be
        found = {"inputs": be.array(layouts.inputs(batch.inputs), dtype=batch.inputs.dtype.type)}
        if batch.labels is not None:
            found["labels"] = be.array(layouts.one_hot(batch.labels, self._model.classes))
        if batch.lengths is not None:
            found["shares"] = be.array(layouts.shares(batch.lengths, _steps(batch)))
        return found


def _steps(batch):
    """Return the length of a batch's sequences; 0 without sequences."""
    return batch.inputs.shape[1] if batch.lengths is not None else 0


def _require(variant, device, dtype):
    require_options("neon", (variant, VARIANTS), (device, ("cpu",)), (dtype, ("float32",)))
    if variant == "mkl" and not get_mkl_lib():
        raise contract.Unsupported("this neon was built without its mkl engine")


def _notes(model):
    has = {type(layer) for layer in model.layers}
    if kinds.Lstm in has:
        yield "the LSTM runs through the padding, which the mean leaves out"
        yield "one network per sequence length, all with the same parameters"
    if kinds.MeanOverTime in has:
        yield "the mean over true lengths is composed: neon's own mean accepts no lengths"
    if shapes.list_trained(model):
        yield "the adapter divides the gradient by the batch size, which neon leaves to optimizers"
