"""A model as pure JAX functions: forward, loss and gradients of weights, batch and random keys."""

import collections

import jax
import jax.numpy as jnp

from velodrome.adapters.contract import Unsupported, measure_kept_share
from velodrome.adapters.frameworks import channels_last
from velodrome.adapters.frameworks.graph import (
    find_entry,
    is_time_first,
    list_spent,
    locate_parameters,
    share_tied,
)
from velodrome.adapters.frameworks.jax import precision
from velodrome.adapters.frameworks.jax.operations import LOSSES, JaxContext, choice
from velodrome.adapters.frameworks.jax.transformer_layers import make_rotary_tables
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

# XLA compiles once per shape, here for about a second. So sequences of many lengths are padded to
# few, by a twentieth for those of `lstm`.
LENGTH_MULTIPLE = 8


class Network(object):
    """Functions of a model, to be compiled or not. Their arguments:

    trained, frozen: arrays by `layer.role`, as `weights` gives them. The tables of rotary positions
    are frozen ones. rates: per dropout layer. statistics: of each batch normalization, by which
    evaluation normalizes.
    batch: `inputs` and, where there are some, `labels` and `lengths`. carried: see `carried`.
    """

    def __init__(self, model, platform, dtype):
        """Raise Unsupported if a layer or the loss is of a kind without an operation or type."""
        precision.require_products(model, platform, dtype)
        self._model, self._dtype = model, dtype
        self._time_first = is_time_first(model)
        self._loss_scale = precision.LOSS_SCALES.get(dtype, 1.0)
        self._steps = [
            (layer, _require_known(choice, layer, platform, self._time_first))
            for layer in model.layers
        ]
        self._loss = find_entry(LOSSES, model.loss, "jax")
        self._reads, self._spent = shapes.list_inputs(model), list_spent(model)
        self._parameters = {
            entry.name: (layer, entry, source) for layer, entry, source in locate_parameters(model)
        }
        self._dropouts = [layer.name for layer in model.layers if isinstance(layer, kinds.Dropout)]
        last = model.layers[-1]
        self._rotary = _make_rotary_tables(model)
        self._kept = last.name if _only_copies(model, last) else ""

    def weights(self, given):
        """Return (trained, frozen) weights by name, in JAX's layout."""
        trained, frozen = {}, {}
        for name, (_, entry, _) in self._parameters.items():
            (frozen if entry.frozen else trained)[name] = self.in_own_layout(name, given[name])
        return trained, dict(frozen, **self._rotary)

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
        output = self._put_batch_first(output)
        return self._loss(self._model.loss, output, values, batch.get("labels")), carried

    def inference(self, trained, frozen, statistics, batch):
        """Return the last layer's output, in evaluation: without dropout."""
        steps = self._walk(trained, frozen, {}, batch, {}, statistics)
        ((_, _, output),) = collections.deque(steps, maxlen=1)
        return self._put_batch_first(output)

    def gradient(self, trained, frozen, rates, batch, carried):
        """Return ((loss, gradients by trained parameter), the carried values)."""

        def scaled(*arguments):
            loss, carried = self.forward(*arguments)
            return loss * self._loss_scale, carried

        call = jax.value_and_grad(self.forward if self._loss_scale == 1 else scaled, has_aux=True)
        (loss, carried), gradients = call(trained, frozen, rates, batch, carried)
        if self._loss_scale != 1:
            loss, gradients = jax.tree.map(lambda own: own / self._loss_scale, (loss, gradients))
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
        """Yield (key, array) of each gradient or parameter, in the canonical layout, on the host.

        gradients: pairs of key and array.
        """
        for name, own in gradients:
            layer, _, source = self._parameters[name]
            array = jax.device_get(own)
            yield name, channels_last.restore_parameter(layer, array, source)

    def _put_batch_first(self, output):
        return output.swapaxes(0, 1) if self._time_first and output.ndim == 3 else output

    def _walk(self, trained, frozen, rates, batch, keys, statistics=None):
        """Yield (layer, its inputs, its output) for each layer. statistics: None in training."""
        values = {"input": batch["inputs"]}
        by_layer = self._weights_by_layer(trained, frozen)
        dtype = precision.TYPES[self._dtype]
        call = JaxContext(batch.get("lengths"), rates, keys, dtype, self._time_first, statistics)
        for layer, operation in self._steps:
            read = [values[name] for name in self._reads[layer.name]]
            values[layer.name] = operation(layer, by_layer[layer.name], call, *read)
            for name in self._spent[layer.name]:
                del values[name]
            yield layer, read, values[layer.name]

    def _weights_by_layer(self, trained, frozen):
        """Return the parameters and tables of each layer by role."""
        by_layer = {layer.name: {} for layer, _ in self._steps}
        for name, (layer, entry, _) in self._parameters.items():
            by_layer[layer.name][entry.role] = (frozen if entry.frozen else trained)[name]
        share_tied(self._model, by_layer)
        for name in self._rotary:
            layer, role = name.rsplit(".", 1)
            by_layer[layer][role] = frozen[name]
        return by_layer

    def _keys(self, carried):
        """Return a fresh key for each dropout layer, and the carried values with a fresh key."""
        if not self._dropouts:
            return {}, carried
        key, *keys = jax.random.split(carried["key"], 1 + len(self._dropouts))
        return dict(zip(self._dropouts, keys)), dict(carried, key=key)


def _make_rotary_tables(model):
    """Return the tables of each attention with rotary positions, by `layer.role`."""
    outputs = shapes.compute_output_shapes(model)
    found = {}
    for layer in model.layers:
        if isinstance(layer, kinds.Attention) and layer.rotary:
            time, n = outputs[layer.name]
            for role, table in make_rotary_tables(layer, _round_up(time), n).items():
                found["{}.{}".format(layer.name, role)] = table
    return found


def _round_up(length):
    """Return a multiple of LENGTH_MULTIPLE: no batch is padded to more steps."""
    return -(-length // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


def _only_copies(model, layer):
    return isinstance(layer, kinds.Duplicate) and not shapes.list_parameters(model)


def _require_known(find, kind, *arguments):
    try:
        return find(kind, *arguments)
    except KeyError:
        raise Unsupported("the jax adapter has no {}".format(type(kind).__name__)) from None
