"""Layers on sequences without a loop: (batch, time, n), or time first where the model is."""


def batch_first(call, x):
    """Return a sequence as (batch, time, n), or one of those as the model has it."""
    return x.dimshuffle(1, 0, 2) if call.time_first else x


def multiply_steps(call, x, weight, bias=None):
    """Multiply sequences (..., in) by weight (in, n), plus bias (n,), for all steps at once."""
    first, second = x.shape[0], x.shape[1]
    product = call.library.tensor.dot(x.reshape((first * second, x.shape[2])), weight)
    if bias is not None:
        product = product + bias
    return product.reshape((first, second, weight.shape[1]))


def find_true_steps(call, x):
    """Return (batch, time) of a sequence (batch, time, n): True for steps inside it."""
    steps = call.library.tensor.arange(x.shape[1]).dimshuffle("x", 0)
    return steps < call.lengths.dimshuffle(0, "x")


def embedding(call, layer, weights, tokens):
    """Look up rows by a vector of indices, for which alone there is compiled code."""
    rows = weights["weight"][tokens.flatten()]
    return rows.reshape((tokens.shape[0], tokens.shape[1], layer.units))


def step_linear(call, layer, weights, x):
    return multiply_steps(call, x, weights["weight"], weights.get("bias"))


def tied_linear(call, layer, weights, x):
    return multiply_steps(call, x, weights["weight"].T)


def layer_norm(call, layer, weights, x):
    centred = x - x.mean(axis=2, keepdims=True)
    variance = call.library.tensor.sqr(centred).mean(axis=2, keepdims=True)
    deviation = call.library.tensor.sqrt(variance + layer.epsilon)
    return centred / deviation * weights["scale"] + weights["bias"]


def rms_norm(call, layer, weights, x):
    square = call.library.tensor.sqr(x).mean(axis=2, keepdims=True)
    return x / call.library.tensor.sqrt(square + layer.epsilon) * weights["scale"]


def learned_positions(call, layer, weights, x):
    axis = _time_axis(call)
    rows = weights["weight"][: x.shape[axis]]
    return x + (rows.dimshuffle(0, "x", 1) if call.time_first else rows.dimshuffle("x", 0, 1))


def patches(call, layer, weights, x):
    return batch_first(call, x.flatten(3).dimshuffle(0, 2, 1))


def class_token(call, layer, weights, x):
    axis, tensor = _time_axis(call), call.library.tensor
    shape = [x.shape[0], x.shape[1], x.shape[2]]
    shape[axis] = 1
    return tensor.concatenate([tensor.alloc(weights["weight"], *shape), x], axis=axis)


def first_step(call, layer, weights, x):
    return x[0] if call.time_first else x[:, 0]


def mean_over_time(call, layer, weights, x):
    axis = _time_axis(call)
    if call.lengths is None:
        return x.mean(axis=axis)
    tensor = call.library.tensor
    within = tensor.cast(find_true_steps(call, batch_first(call, x)), x.dtype)
    within = within.dimshuffle(1, 0, "x") if call.time_first else within.dimshuffle(0, 1, "x")
    return (x * within).sum(axis) / tensor.cast(call.lengths, x.dtype).dimshuffle(0, "x")


def _time_axis(call):
    return 0 if call.time_first else 1
