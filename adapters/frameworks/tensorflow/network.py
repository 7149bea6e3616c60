"""A model's graph in TensorFlow: its variables, and the walk from a batch to the loss."""

import collections

import numpy
import tensorflow as tf

from velodrome.adapters.contract import LOSS_SCALE, Unsupported, measure_kept_share
from velodrome.adapters.frameworks import channels_last
from velodrome.adapters.frameworks.graph import (
    find_entry,
    is_time_first,
    list_spent,
    locate_parameters,
    share_tied,
)
from velodrome.adapters.frameworks.tensorflow.operations import TensorflowContext
from velodrome.adapters.frameworks.tensorflow.placement import find_replica
from velodrome.adapters.frameworks.tensorflow.precision import Precision
from velodrome.adapters.frameworks.tensorflow.transformer_layers import make_tables
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes


class Network(object):
    """A model with its weights, as tf.Variables on the current device.

    operations, losses: as in velodrome.adapters.frameworks.tensorflow.operations. dtype: one of
    velodrome.adapters.tolerances.DTYPES. length_multiple: sequences are padded to multiples of it.
    A batch is a dict of `inputs` and, where there are some, `labels` and `lengths`.
    """

    def __init__(self, model, weights, operations, losses, dtype, length_multiple):
        self._model = model
        self._precision = Precision(dtype)
        self._loss_scale = LOSS_SCALE if dtype == "float16" else 1.0
        self._time_first = is_time_first(model)
        self._steps = [
            (layer, find_entry(operations, layer, "tensorflow")) for layer in model.layers
        ]
        self._loss = find_entry(losses, model.loss, "tensorflow")
        self._reads = shapes.list_inputs(model)
        self._weights = {layer.name: {} for layer in model.layers}
        self._trained = []
        for layer, entry, source in locate_parameters(model):
            array = channels_last.convert_parameter(layer, weights[entry.name], source)
            variable = tf.Variable(array, trainable=not entry.frozen, name=entry.name)
            self._weights[layer.name][entry.role] = variable
            if not entry.frozen:
                self._trained.append((entry.name, variable, layer, source))
        share_tied(model, self._weights)
        self.trained = [variable for _, variable, _, _ in self._trained]
        self._tables = _make_tables(model, length_multiple)
        self._spent = list_spent(model)
        self._statistics = {}
        self._rates = {layer.name: tf.Variable(0.0) for layer in _of_kind(model, kinds.Dropout)}
        self._copies = [{}]  # per device

    def assign(self, key, values):
        """Give a trained parameter other values, canonical layout."""
        for name, variable, layer, source in self._trained:
            if name == key:
                variable.assign(channels_last.convert_parameter(layer, values, source))

    def assign_all(self, weights):
        """Give every trained parameter its value in `weights`, canonical layout."""
        for name, variable, layer, source in self._trained:
            variable.assign(channels_last.convert_parameter(layer, weights[name], source))

    def assign_statistics(self, statistics):
        """Set the mean and variance by which inference normalizes, keyed `layer.mean` and so on.

        The first call makes their variables, on the current device.
        """
        for name, values in statistics.items():
            if name in self._statistics:
                self._statistics[name].assign(values)
            else:
                self._statistics[name] = tf.Variable(values, trainable=False, name=name)

    def reserve(self, batch_size, placement):
        """Reserve what a Duplicate fills on each device, once the batch size is known."""
        if self._copies[0]:
            return
        outputs = shapes.compute_output_shapes(self._model)
        for layer in _of_kind(self._model, kinds.Duplicate):
            if layer is not self._model.layers[-1] or self._trained:
                raise Unsupported("the tensorflow adapter has no Duplicate before other layers")
            shape = (batch_size // placement.count,) + outputs[layer.name]
            self._copies = [
                {layer.name: variable} for variable in placement.make_variables(tf.zeros(shape))
            ]

    def set_dropout(self, active):
        for layer in _of_kind(self._model, kinds.Dropout):
            self._rates[layer.name].assign(layer.rate if active else 0.0)

    def forward(self, batch):
        """Return [loss], or the output of a model without one; [] if that stays in its variable."""
        result = self._result(batch)
        return [] if isinstance(result, tf.Variable) else [result]

    def gradient(self, batch):
        """Return [loss, the gradient of every trained variable, as a dense tensor]."""
        with tf.GradientTape() as tape:
            loss = self._result(batch)
            scaled = loss * self._loss_scale if self._loss_scale != 1.0 else loss
        found = [tf.convert_to_tensor(own) for own in tape.gradient(scaled, self.trained)]
        if self._loss_scale != 1.0:
            found = [own / self._loss_scale for own in found]
        return [loss, *found]

    def inference(self, batch):
        """Return [the last layer's output], of evaluation."""
        ((_, _, output),) = collections.deque(self.steps(batch, {}, self._statistics), maxlen=1)
        return [output]

    def steps(self, batch, rates, statistics=None):
        """Yield (layer, its inputs, its output) for each layer.

        rates: by dropout layer. statistics: of evaluation, without dropout; None in training.
        """
        values = {"input": batch["inputs"]}
        call = TensorflowContext(
            batch.get("lengths"),
            rates,
            self._copies[find_replica() % len(self._copies) if len(self._copies) > 1 else 0],
            self._time_first,
            self._tables,
            statistics,
        )
        cast = self._precision
        for layer, operation in self._steps:
            weights = cast.cast_parameters(layer, self._weights[layer.name])
            read = cast.cast_inputs(layer, [values[name] for name in self._reads[layer.name]])
            values[layer.name] = operation(layer, weights, call, *read)
            for name in self._spent[layer.name]:
                del values[name]
            yield layer, read, values[layer.name]

    def kept_shares(self, batch):
        """Map each dropout layer to the share of its non-zero inputs that stay non-zero."""
        rates = {layer.name: layer.rate for layer in _of_kind(self._model, kinds.Dropout)}
        return {
            layer.name: measure_kept_share(read[0].numpy(), output.numpy())
            for layer, read, output in self.steps(batch, rates)
            if layer.name in rates
        }

    def canonical(self, what, found, placement):
        """Yield (key, array) of each trained parameter, in the canonical layout, on the host.

        found: a gradient or a variable of each; what: their name in a reason for Disagreed.
        """
        for (name, _, layer, source), own in zip(self._trained, found):
            array = placement.read("{} {}".format(what, name), own)
            yield name, channels_last.restore_parameter(layer, array, source)

    def output(self, result, placement):
        """Return the output of `inference`, or of `forward` without a loss, float32 on the host."""
        last = self._model.layers[-1].name
        kept = placement.list_copies(result[0]) if result else [own[last] for own in self._copies]
        return numpy.concatenate([self._restore_output(part) for part in kept])

    def _restore_output(self, part):
        array = part.numpy().astype(numpy.float32, copy=False)
        if self._time_first and array.ndim == 3:
            array = array.swapaxes(0, 1)
        return channels_last.restore_output(array)

    def _result(self, batch):
        values = {"input": batch["inputs"]}
        for layer, _, output in self.steps(batch, self._rates):
            values[layer.name] = output
        if self._precision.is_mixed and not isinstance(self._model.loss, kinds.NoLoss):
            output = tf.cast(output, tf.float32)
        return self._loss(self._model.loss, output, values, batch.get("labels"))


def _make_tables(model, length_multiple):
    """Return the tables of each attention, by its name; layers of one kind share theirs."""
    outputs, made, found = shapes.compute_output_shapes(model), {}, {}
    for layer in _of_kind(model, kinds.Attention):
        steps, n = outputs[layer.name]
        key = (layer.causal, layer.rotary, steps, n // layer.heads)
        if key not in made:
            longest = steps + -steps % length_multiple
            made[key] = make_tables(layer, longest, n // layer.heads)
        found[layer.name] = made[key]
    return found


def _of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]
