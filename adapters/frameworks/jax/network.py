"""A model as pure JAX functions: forward, loss and gradients of weights, batch and random keys."""

import jax
import jax.numpy as jnp

from velodrome.adapters.contract import Unsupported, measure_kept_share
from velodrome.adapters.frameworks import channels_last
from velodrome.adapters.frameworks.graph import find_entry, locate_parameters
from velodrome.adapters.frameworks.jax.operations import LOSSES, JaxContext, choice
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes


class Network(object):
    """Functions of a model, to be compiled or not. Their arguments:

    trained, frozen: arrays by `layer.role`, as `weights` gives them. rates: per dropout layer.
    batch: `inputs` and, where there are some, `labels` and `lengths`. carried: see `carried`.
    """

    def __init__(self, model, platform):
        """Raise Unsupported if a layer or the loss is of a kind without an operation."""
        self._model = model
        self._steps = [(layer, _require_known(choice, layer, platform)) for layer in model.layers]
        self._loss = find_entry(LOSSES, model.loss, "jax")
        self._reads = shapes.list_inputs(model)
        self._parameters = {
            entry.name: (layer, entry, source) for layer, entry, source in locate_parameters(model)
        }
        self._dropouts = [layer.name for layer in model.layers if isinstance(layer, kinds.Dropout)]
        last = model.layers[-1]
        self._kept = last.name if _only_copies(model, last) else ""

    def weights(self, given):
        """Return (trained, frozen) weights by name, in JAX's layout."""
        trained, frozen = {}, {}
        for name, (_, entry, _) in self._parameters.items():
            (frozen if entry.frozen else trained)[name] = self.in_own_layout(name, given[name])
        return trained, frozen

    def in_own_layout(self, name, array):
        """Convert a parameter's canonical array to JAX's layout."""
        layer, _, source = self._parameters[name]
        return channels_last.convert_parameter(layer, array, source)

    def carried(self, batch_size):
        """Return the buffers that a call takes and returns: a key, and memory to copy into."""
        found = {}
        if self._dropouts:
            found["key"] = jax.random.key(0)
        if self._kept:
            shape = shapes.compute_output_shapes(self._model)[self._kept]
            found["kept"] = jnp.zeros((batch_size,) + shape, jnp.float32)
        return found

    def rates(self, active):
        """Map each dropout layer to its rate, or 0."""
        layers = [layer for layer in self._model.layers if isinstance(layer, kinds.Dropout)]
        return {layer.name: jnp.float32(layer.rate if active else 0.0) for layer in layers}

    def forward(self, trained, frozen, rates, batch, carried):
        """Return the loss, or the output of a model without one, and the carried values."""
        values = {"input": batch["inputs"]}
        keys, carried = self._keys(carried)
        for layer, _, output in self._walk(trained, frozen, rates, batch, keys):
            values[layer.name] = output
        if self._kept:
            return None, dict(carried, kept=output)
        return self._loss(self._model.loss, output, values, batch.get("labels")), carried

    def gradient(self, trained, frozen, rates, batch, carried):
        """Return ((loss, gradients by trained parameter), the carried values)."""
        call = jax.value_and_grad(self.forward, has_aux=True)
        (loss, carried), gradients = call(trained, frozen, rates, batch, carried)
        return (loss, gradients), carried

    def kept_shares(self, trained, frozen, rates, batch, carried):
        """Map each dropout layer to the share of its non-zero inputs that stay non-zero."""
        keys, _ = self._keys(carried)
        return {
            layer.name: measure_kept_share(*jax.device_get((read[0], output)))
            for layer, read, output in self._walk(trained, frozen, rates, batch, keys)
            if layer.name in self._dropouts
        }

    def canonical(self, gradients):
        """Yield (key, array) of each gradient, in the canonical layout, on the host."""
        for name, own in gradients.items():
            layer, _, source = self._parameters[name]
            array = jax.device_get(own)
            yield name, channels_last.restore_parameter(layer, array, source)

    def _walk(self, trained, frozen, rates, batch, keys):
        """Yield (layer, its inputs, its output) for each layer."""
        values = {"input": batch["inputs"]}
        by_layer = {layer.name: {} for layer, _ in self._steps}
        for name, (layer, entry, _) in self._parameters.items():
            by_layer[layer.name][entry.role] = (frozen if entry.frozen else trained)[name]
        call = JaxContext(batch.get("lengths"), rates, keys)
        for layer, operation in self._steps:
            read = [values[name] for name in self._reads[layer.name]]
            values[layer.name] = operation(layer, by_layer[layer.name], call, *read)
            yield layer, read, values[layer.name]

    def _keys(self, carried):
        """Return a fresh key for each dropout layer, and the carried values with a fresh key."""
        if not self._dropouts:
            return {}, carried
        key, *keys = jax.random.split(carried["key"], 1 + len(self._dropouts))
        return dict(zip(self._dropouts, keys)), dict(carried, key=key)


def _only_copies(model, layer):
    return isinstance(layer, kinds.Duplicate) and not shapes.list_parameters(model)


def _require_known(find, kind, *arguments):
    try:
        return find(kind, *arguments)
    except KeyError:
        raise Unsupported("the jax adapter has no {}".format(type(kind).__name__)) from None
