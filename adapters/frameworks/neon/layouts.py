"""Canonical arrays to neon's layouts and back: the batch is last, and time before it.

A convolution's weight is (in x height x width, out), a transposed one's (out x height x width, in).
An LSTM's gates are i, f, o, g, and all of
its parameters lie in one array.
"""

import numpy

from velodrome.adapters.models import layers as kinds

_GATES = {"weight_input": "W_input", "weight_hidden": "W_recur", "bias": "b"}
_NORM = {"scale": "gamma", "bias": "beta"}
_OF_GATES = {"weight_input": "dW_input", "weight_hidden": "dW_recur", "bias": "db"}


def put(layer, made, role, array):
    """Put a parameter's canonical value into its layers of neon."""
    value, _ = _tensors(layer, made, role)
    value[:] = numpy.ascontiguousarray(_to_neon(layer, role, array).reshape(value.shape))


def parameter(layer, made, role, shape):
    """Return a parameter's values in its canonical layout and shape, a copy on the host."""
    value, _ = _tensors(layer, made, role)
    return _to_canonical(layer, role, value.get(), shape)


def gradient(layer, made, role, shape):
    """Return a parameter's gradient in its canonical layout and shape, on the host."""
    _, found = _tensors(layer, made, role)
    return _to_canonical(layer, role, found.get(), shape)


def inputs(array):
    """Convert (batch, ...) to (values, batch), of tokens (time, batch).

    States (batch, time, n) become (n, time x batch).
    """
    if array.ndim == 3:
        array = array.transpose(2, 1, 0)
        return numpy.ascontiguousarray(array.reshape(len(array), -1))
    return numpy.ascontiguousarray(array.reshape(len(array), -1).T)


def one_hot(labels, classes):
    """Return one-hot labels (classes, batch), or (classes, time x batch)."""
    labels = labels.T.ravel()
    found = numpy.zeros((classes, len(labels)), numpy.float32)
    found[labels, numpy.arange(len(labels))] = 1.0
    return found


def output(array, shape, batch_size):
    """Convert what a layer gives to canonical layout, the batch first.

    shape: of one example. Of sequences, its steps may be fewer or more than the batch's.
    """
    if len(shape) == 2:
        return array.reshape(shape[1], -1, batch_size).transpose(2, 1, 0)
    return array.T.reshape((batch_size,) + shape)


def shares(lengths, steps):
    """Return (1, steps x batch): each step's weight in the mean over its example's true length."""
    within = numpy.arange(steps)[:, None] < lengths
    return (within / lengths.astype(numpy.float32)).astype(numpy.float32).reshape(1, -1)


def _tensors(layer, made, role):
    """Return the tensors of a parameter and of its gradient."""
    if isinstance(layer, kinds.Lstm):
        return getattr(made[0], _GATES[role]), getattr(made[0], _OF_GATES[role])
    if isinstance(layer, kinds.BatchNorm):
        return getattr(made[0], _NORM[role]), getattr(made[0], "grad_" + _NORM[role])
    if isinstance(layer, (kinds.Conv, kinds.DilatedConv)) and role == "bias":
        return made[0].weight_bias, made[0].grad_bias
    own = made[1] if role == "bias" else made[0]
    return own.W, own.dW


def _to_neon(layer, role, array):
    if len(array.shape) == 4:
        return array.reshape(len(array), -1).T
    if isinstance(layer, kinds.Lstm):
        return _swap_gates(array)
    return array


def _to_canonical(layer, role, array, shape):
    if len(shape) == 4:
        return numpy.ascontiguousarray(array.T).reshape(shape)
    if isinstance(layer, kinds.Lstm):
        return _swap_gates(array).reshape(shape)
    return array.reshape(shape)


def _swap_gates(array):
    """Reorder i, f, g, o to i, f, o, g, or back."""
    i, f, third, fourth = numpy.split(array, 4)
    return numpy.concatenate((i, f, fourth, third))
