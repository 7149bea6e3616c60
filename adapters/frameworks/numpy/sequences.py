"""Layers over sequences: (batch, time), (batch, time, n), with the true length of each."""

from typing import FrozenSet, List, Tuple

import numpy

from velodrome.adapters.frameworks.numpy.operation import (
    Array,
    CallContext,
    Gradients,
    Operation,
    Weights,
)
from velodrome.adapters.frameworks.numpy.pointwise import compute_sigmoid
from velodrome.adapters.models import layers as kinds

LstmStep = Tuple[Tuple[Array, Array, Array, Array], Array, Array, Array]
GruStep = Tuple[Array, Array, Array, Array, Array]


def _embedding_forward(
    layer: kinds.Embedding, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    (tokens,) = inputs
    return weights["weight"][tokens], tokens


def _embedding_backward(
    layer: kinds.Embedding, weights: Weights, tokens: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    total = numpy.zeros_like(weights["weight"])
    numpy.add.at(total, tokens.ravel(), gradient.reshape(-1, layer.units))
    return (None,), {"weight": total}


def _mask(call: CallContext, x: Array) -> Array:
    """Return (batch, time, 1): True for steps inside their sequence."""
    if call.lengths is None:
        return numpy.ones(x.shape[:2] + (1,), bool)
    return (numpy.arange(x.shape[1]) < numpy.asarray(call.lengths)[:, None])[:, :, None]


def _lstm_forward(
    layer: kinds.Lstm, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Array, List[LstmStep]]]:
    (x,) = inputs
    mask = _mask(call, x)
    from_input = x @ weights["weight_input"].T + weights["bias"]
    hidden = numpy.zeros((len(x), layer.units))
    cell = numpy.zeros_like(hidden)
    outputs = numpy.empty(x.shape[:2] + (layer.units,))
    steps = []
    for time in range(x.shape[1]):
        gates = _gates(from_input[:, time] + hidden @ weights["weight_hidden"].T, layer.units)
        i, f, g, o = gates
        stepped = f * cell + i * g
        squashed = numpy.tanh(stepped)
        steps.append((gates, squashed, cell, hidden))
        cell = numpy.where(mask[:, time], stepped, cell)
        hidden = numpy.where(mask[:, time], o * squashed, hidden)
        outputs[:, time] = hidden
    return outputs, (x, mask, steps)


def _gates(before: Array, units: int) -> Tuple[Array, Array, Array, Array]:
    i, f, g, o = (before[:, n * units : (n + 1) * units] for n in range(4))
    return compute_sigmoid(i), compute_sigmoid(f), numpy.tanh(g), compute_sigmoid(o)


def _lstm_backward(
    layer: kinds.Lstm,
    weights: Weights,
    saved: Tuple[Array, Array, List[LstmStep]],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    x, mask, steps = saved
    of_gates = _lstm_gate_gradients(weights, mask, steps, gradient)
    flat = of_gates.reshape(-1, of_gates.shape[2])
    before = numpy.stack([hidden for _, _, _, hidden in steps], axis=1)
    of_roles = {
        "weight_input": flat.T @ x.reshape(len(flat), -1),
        "weight_hidden": flat.T @ before.reshape(len(flat), -1),
        "bias": flat.sum(axis=0),
    }
    return (of_gates @ weights["weight_input"],), of_roles


def _lstm_gate_gradients(
    weights: Weights, mask: Array, steps: List[LstmStep], gradient: Array
) -> Array:
    """Return (batch, time, 4 units): the gradient of each gate's input, from the last step on."""
    batch, length, units = gradient.shape
    found = numpy.zeros((batch, length, 4 * units))
    of_hidden = numpy.zeros((batch, units))
    of_cell = numpy.zeros_like(of_hidden)
    for time in reversed(range(length)):
        (i, f, g, o), squashed, cell, _ = steps[time]
        inside = mask[:, time]
        of_hidden = of_hidden + gradient[:, time]
        new_hidden = of_hidden * inside
        new_cell = of_cell * inside + new_hidden * o * (1.0 - squashed * squashed)
        of_gates = (
            new_cell * g * i * (1.0 - i),
            new_cell * cell * f * (1.0 - f),
            new_cell * i * (1.0 - g * g),
            new_hidden * squashed * o * (1.0 - o),
        )
        found[:, time] = numpy.concatenate(of_gates, axis=1)
        # A step outside the sequence hands both states on, and with them their gradients.
        of_hidden = found[:, time] @ weights["weight_hidden"] + of_hidden * ~inside
        of_cell = new_cell * f + of_cell * ~inside
    return found


def _gru_forward(
    layer: kinds.Gru, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Array, List[GruStep]]]:
    (x,) = inputs
    mask, units = _mask(call, x), layer.units
    from_input = x @ weights["weight_input"].T + weights["bias"]
    hidden = numpy.zeros((len(x), units))
    outputs = numpy.empty(x.shape[:2] + (units,))
    steps = []
    for time in range(x.shape[1]):
        own = from_input[:, time]
        back = hidden @ weights["weight_hidden"].T + weights["bias_hidden"]
        r, z = (
            compute_sigmoid(own[:, at] + back[:, at])
            for at in (slice(units), slice(units, 2 * units))
        )
        n = numpy.tanh(own[:, 2 * units :] + r * back[:, 2 * units :])
        steps.append((r, z, n, back[:, 2 * units :], hidden))
        hidden = numpy.where(mask[:, time], (1.0 - z) * n + z * hidden, hidden)
        outputs[:, time] = hidden
    return outputs, (x, mask, steps)


def _gru_backward(
    layer: kinds.Gru,
    weights: Weights,
    saved: Tuple[Array, Array, List[GruStep]],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    x, mask, steps = saved
    of_input, of_hidden = _gru_gate_gradients(weights, mask, steps, gradient)
    before = numpy.stack([step[4] for step in steps], axis=1)
    flat_input = of_input.reshape(-1, of_input.shape[2])
    flat_hidden = of_hidden.reshape(flat_input.shape)
    of_roles = {
        "weight_input": flat_input.T @ x.reshape(len(flat_input), -1),
        "weight_hidden": flat_hidden.T @ before.reshape(len(flat_input), -1),
        "bias": flat_input.sum(axis=0),
        "bias_hidden": flat_hidden.sum(axis=0),
    }
    return (of_input @ weights["weight_input"],), of_roles


def _gru_gate_gradients(
    weights: Weights, mask: Array, steps: List[GruStep], gradient: Array
) -> Tuple[Array, Array]:
    """Return twice (batch, time, 3 units): gradients of each gate's input and state parts."""
    batch, length, units = gradient.shape
    of_input = numpy.zeros((batch, length, 3 * units))
    of_state = numpy.zeros_like(of_input)
    of_hidden = numpy.zeros((batch, units))
    for time in reversed(range(length)):
        r, z, n, back, hidden = steps[time]
        inside = mask[:, time]
        of_hidden = of_hidden + gradient[:, time]
        new_hidden = of_hidden * inside
        of_n = new_hidden * (1.0 - z) * (1.0 - n * n)
        of_z = new_hidden * (hidden - n) * z * (1.0 - z)
        of_r = of_n * back * r * (1.0 - r)
        of_input[:, time] = numpy.concatenate((of_r, of_z, of_n), axis=1)
        of_state[:, time] = numpy.concatenate((of_r, of_z, of_n * r), axis=1)
        of_hidden = (
            new_hidden * z + of_state[:, time] @ weights["weight_hidden"] + of_hidden * ~inside
        )
    return of_input, of_state


def _mean_forward(
    layer: kinds.MeanOverTime, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    (x,) = inputs
    mask = _mask(call, x)
    share = mask / mask.sum(axis=1, keepdims=True)
    return (x * share).sum(axis=1), share


def _mean_backward(
    layer: kinds.MeanOverTime,
    weights: Weights,
    share: Array,
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    return (gradient[:, None] * share,), {}


EMBEDDING = Operation(_embedding_forward, _embedding_backward)
LSTM = Operation(_lstm_forward, _lstm_backward)
GRU = Operation(_gru_forward, _gru_backward)
MEAN_OVER_TIME = Operation(_mean_forward, _mean_backward)
