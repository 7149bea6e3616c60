"""Losses: the value of each, and its gradient with respect to the last layer's output."""

from typing import Dict, Optional, Tuple, Union

import numpy

from velodrome.adapters.frameworks.numpy.operation import Array
from velodrome.adapters.models import layers as kinds


def compute_loss(
    model: kinds.Model, values: Dict[str, Array], labels: Optional[Array]
) -> Tuple[float, Optional[Array]]:
    """Return (loss, gradient of the last output).

    values: every layer's output by name, and `input`. labels: None if the loss reads none.
    """
    last = values[model.layers[-1].name]
    if isinstance(model.loss, kinds.SoftmaxCrossEntropy):
        return _softmax_cross_entropy(last, labels)
    if isinstance(model.loss, kinds.StepCrossEntropy):
        flat = last.reshape(-1, last.shape[2])
        loss, gradient = _softmax_cross_entropy(flat, numpy.asarray(labels).ravel())
        return loss, gradient.reshape(last.shape)
    if isinstance(model.loss, kinds.SquaredError):
        return _squared_error(last, _target(model.loss.target, values, last))
    return float("nan"), None


def _softmax_cross_entropy(logits: Array, labels: Optional[Array]) -> Tuple[float, Array]:
    """Return the mean over the batch, in nats. logits (batch, classes), labels (batch,) int."""
    rows = numpy.arange(len(logits))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_shares = shifted - numpy.log(numpy.exp(shifted).sum(axis=1, keepdims=True))
    gradient = numpy.exp(log_shares)
    gradient[rows, labels] -= 1.0
    return float(-log_shares[rows, labels].mean()), gradient / len(logits)


def _squared_error(output: Array, target: Union[Array, float]) -> Tuple[float, Array]:
    """Return sum (output - target)^2 / (2 batch) and its gradient; target is a constant."""
    difference = output - target
    batch = len(output)
    return float((difference * difference).sum() / (2.0 * batch)), difference / batch


def _target(name: str, values: Dict[str, Array], output: Array) -> Union[Array, float]:
    return 0.0 if name == "zero" else values[name].reshape(output.shape)
