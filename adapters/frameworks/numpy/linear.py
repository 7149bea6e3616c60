"""The linear layer, over the flattened example."""

from velodrome.adapters.frameworks.numpy.operation import Operation


def _forward(layer, weights, inputs, call):
    (x,) = inputs
    flat = x.reshape(len(x), -1)
    y = flat @ weights["weight"].T
    if layer.bias:
        y += weights["bias"]
    return y, x


def _backward(layer, weights, x, gradient, wanted):
    flat = x.reshape(len(x), -1)
    of_roles = {"weight": gradient.T @ flat} if "weight" in wanted else {}
    if "bias" in wanted:
        of_roles["bias"] = gradient.sum(axis=0)
    of_input = (gradient @ weights["weight"]).reshape(x.shape) if "input" in wanted else None
    return (of_input,), of_roles


LINEAR = Operation(_forward, _backward)
