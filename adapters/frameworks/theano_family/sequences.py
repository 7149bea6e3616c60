"""Layers that loop: recurrent ones on sequences (time, batch, n), as scans.

They run through the padding, which stands behind an example's true steps and so changes none of
them; mean_over_time leaves it out, and no gradient comes from it.
"""

from velodrome.adapters.frameworks.theano_family.steps import multiply_steps


def lstm(call, layer, weights, x):
    """Build an LSTM. Gates are i, f, g, o."""
    library, units = call.library, layer.units

    def step(inputs, hidden, cell, weight):
        gates = inputs + library.tensor.dot(hidden, weight)
        i, f, g, o = _split(gates, units, 4)
        sigmoid, tanh = library.sigmoid, library.tensor.tanh
        cell = sigmoid(f) * cell + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(cell), cell

    (hiddens, _), _ = library.root.scan(
        step,
        sequences=[multiply_steps(call, x, weights["weight_input"], weights["bias"])],
        outputs_info=[_zeros(call, x, units)] * 2,
        non_sequences=[weights["weight_hidden"]],
        strict=True,
    )
    return hiddens


def gru(call, layer, weights, x):
    """Build a GRU. Gates are r, z, n."""
    library, units = call.library, layer.units

    def step(inputs, hidden, weight, bias):
        back = library.tensor.dot(hidden, weight) + bias
        (r, z, n), (back_r, back_z, back_n) = _split(inputs, units, 3), _split(back, units, 3)
        r, z = library.sigmoid(r + back_r), library.sigmoid(z + back_z)
        return (1 - z) * library.tensor.tanh(n + r * back_n) + z * hidden

    hiddens, _ = library.root.scan(
        step,
        sequences=[multiply_steps(call, x, weights["weight_input"], weights["bias"])],
        outputs_info=[_zeros(call, x, units)],
        non_sequences=[weights["weight_hidden"], weights["bias_hidden"]],
        strict=True,
    )
    return hiddens


def loop(call, layer, weights, x):
    """Build a loop on vectors (batch, n)."""
    tensor = call.library.tensor
    states, _ = call.library.root.scan(
        lambda state, weight, bias: tensor.tanh(tensor.dot(state, weight) + bias),
        outputs_info=[x],
        non_sequences=[weights["weight"], weights["bias"]],
        n_steps=layer.steps,
        strict=True,
    )
    return states[-1]


def _zeros(call, x, units):
    return call.library.tensor.zeros((x.shape[1], units))


def _split(gates, units, count):
    """Split (batch, count units) into its parts."""
    return [gates[:, part * units : (part + 1) * units] for part in range(count)]
