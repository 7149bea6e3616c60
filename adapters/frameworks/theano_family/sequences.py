"""Layers on sequences (time, batch, n). Loops are scans.

They run through the padding, which stands behind an example's true steps and so changes none of
them; mean_over_time leaves it out, and no gradient comes from it.
"""


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
        sequences=[_product(call, x, weights["weight_input"], weights["bias"])],
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
        sequences=[_product(call, x, weights["weight_input"], weights["bias"])],
        outputs_info=[_zeros(call, x, units)],
        non_sequences=[weights["weight_hidden"], weights["bias_hidden"]],
        strict=True,
    )
    return hiddens


def attention(call, layer, weights, x):
    tensor, heads = call.library.tensor, layer.heads
    time, batch, width = x.shape[0], x.shape[1], weights["weight_output"].get_value().shape[0]
    size = width // heads
    product = tensor.dot(x.reshape((time * batch, width)), weights["weight_input"])
    parts = product.reshape((time, batch, 3, heads, size)).dimshuffle(2, 1, 3, 0, 4)
    query, key, value = (parts[number].reshape((batch * heads, time, size)) for number in range(3))
    scores = call.library.batched_dot(query, key.dimshuffle(0, 2, 1)) / size**0.5
    scores = scores.reshape((batch, heads, time, time))
    true_keys = _within(call, x).dimshuffle(1, "x", "x", 0)
    scores = tensor.switch(true_keys, scores, -1e30).reshape((batch * heads * time, time))
    shares = call.library.nnet.softmax(scores).reshape((batch * heads, time, time))
    mixed = call.library.batched_dot(shares, value).reshape((batch, heads, time, size))
    flat = mixed.dimshuffle(2, 0, 1, 3).reshape((time * batch, width))
    return tensor.dot(flat, weights["weight_output"]).reshape((time, batch, width))


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


def mean_over_time(call, layer, weights, x):
    tensor = call.library.tensor
    within = tensor.cast(_within(call, x), x.dtype).dimshuffle(0, 1, "x")
    return (x * within).sum(0) / tensor.cast(call.lengths, x.dtype).dimshuffle(0, "x")


def _within(call, x):
    """Return (time, batch): True for steps inside their sequence."""
    return call.library.tensor.arange(x.shape[0]).dimshuffle(0, "x") < call.lengths


def _product(call, x, weight, bias):
    """Multiply x (time, batch, in) by weight (in, n), plus bias (n,), for all steps at once."""
    flat = x.reshape((x.shape[0] * x.shape[1], x.shape[2]))
    found = call.library.tensor.dot(flat, weight) + bias
    return found.reshape((x.shape[0], x.shape[1], bias.shape[0]))


def _zeros(call, x, units):
    return call.library.tensor.zeros((x.shape[1], units))


def _split(gates, units, count):
    """Split (batch, count units) into its parts."""
    return [gates[:, part * units : (part + 1) * units] for part in range(count)]
