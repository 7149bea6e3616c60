"""The losses: each gives its value and its gradient with respect to the last layer's output."""

import numpy

from velodrome.adapters.models import layers as kinds


def compute_loss(model, values, labels):
    """(loss, gradient of the last output). values: every layer's output by name, and `input`."""
    last = values[model.layers[-1].name]
    if isinstance(model.loss, kinds.SoftmaxCrossEntropy):
        return _softmax_cross_entropy(last, labels)
    if isinstance(model.loss, kinds.SquaredError):
        return _squared_error(last, _target(model.loss.target, values, last))
    return float("nan"), None


def _softmax_cross_entropy(logits, labels):
    """Mean over the batch, in nats. logits (batch, classes), labels (batch,) int."""
    rows = numpy.arange(len(logits))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_shares = shifted - numpy.log(numpy.exp(shifted).sum(axis=1, keepdims=True))
    gradient = numpy.exp(log_shares)
    gradient[rows, labels] -= 1.0
    return float(-log_shares[rows, labels].mean()), gradient / len(logits)


def _squared_error(output, target):
    """sum (output - target)^2 / (2 batch); target is a constant, no gradient flows there."""
    difference = output - target
    batch = len(output)
    return float((difference * difference).sum() / (2.0 * batch)), difference / batch


def _target(name, values, output):
    return 0.0 if name == "zero" else values[name].reshape(output.shape)
