"""References of the phases inference, update and step: what evaluation and one step must give."""

from typing import Dict, NamedTuple, Sequence, Tuple

import numpy

from velodrome.adapters import optimizers
from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.network import Network
from velodrome.adapters.proof import prediction, seeding
from velodrome.adapters.proof.batch_results import accumulate_gradients, split_batch
from velodrome.adapters.proof.relative_errors import measure_distance
from velodrome.adapters.proof.sketch import compute_sketch
from velodrome.adapters.tolerances import (
    UPDATE_TOLERANCE,
    PredictedErrors,
    compute_gradient_tolerance,
)

OUTPUT = "(output)"  # the name of an output's sketch; no parameter is named like this


class EvaluationResults(NamedTuple):
    """The outputs of evaluation, as sketches; empty if the phase inference was not asked for.

    statistics: (channels,) float32 mean and variance of each batch normalization, from the first
    batch, keyed `layer.mean` and `layer.variance`. outputs: (checked, at most sketch.BUCKETS), of
    the checked batches. fresh: likewise of the fresh ones at their places. changed: of the first
    fresh batch after a parameter is changed. predicted: the relative error by rounding alone.
    """

    statistics: Dict[str, numpy.ndarray] = {}
    outputs: numpy.ndarray = numpy.zeros((0, 0))
    fresh: numpy.ndarray = numpy.zeros((0, 0))
    changed: numpy.ndarray = numpy.zeros(0)
    predicted: float = 0.0


class StepResult(NamedTuple):
    """The loss of batch number 1 (or the only one) after one step of the optimizer on batch 0.

    allowed: by how much gradients that are off by their tolerance move that loss.
    """

    optimizer: str = ""  # empty if neither update nor step was asked for
    loss: float = 0.0
    allowed: float = 0.0


def compute_evaluation(
    network: Network, batches: Tuple[Batch, ...], fresh: Tuple[Batch, ...], seed: int, dtype: str
) -> EvaluationResults:
    """Evaluate the checked batches and the fresh ones at their places.

    The statistics are those of batches[0]. `changed` is left empty.
    """
    statistics = network.measure_statistics(_widen(batches[0]))
    outputs = [evaluate(network, batch, statistics) for batch in batches]
    predicted = 0.0
    if dtype != "float32":
        weights = seeding.draw_weights(network.model, seed)
        rounded = prediction.make_rounded_network(network.model, weights, dtype)
        for batch, output in zip(batches, outputs):
            found = evaluate(rounded, batch, statistics, dtype)
            predicted = max(predicted, measure_distance(found, output))
    return EvaluationResults(
        statistics,
        numpy.stack([compute_sketch(OUTPUT, output) for output in outputs]),
        numpy.stack([sketch_evaluation(network, batch, statistics) for batch in fresh]),
        predicted=predicted,
    )


def sketch_evaluation(
    network: Network, batch: Batch, statistics: Dict[str, numpy.ndarray]
) -> numpy.ndarray:
    """Return the sketch of one batch's output."""
    return compute_sketch(OUTPUT, evaluate(network, batch, statistics))


def evaluate(
    network: Network, batch: Batch, statistics: Dict[str, numpy.ndarray], dtype: str = ""
) -> numpy.ndarray:
    """Return the output of one batch in evaluation mode, float32, computed in chunks of examples.

    dtype: of the network's products, if it rounds them.
    """
    parts = [
        network.evaluate(prediction.round_inputs(part, dtype) if dtype else part, statistics)
        for part in split_batch(network, batch)
    ]
    return numpy.concatenate([numpy.asarray(part, numpy.float32) for part in parts])


def compute_step(
    network: Network,
    batches: Sequence[Batch],
    optimizer: str,
    dtype: str,
    predicted: PredictedErrors,
) -> StepResult:
    """Take one step from the network's weights. The network keeps the new weights."""
    _, gradients = accumulate_gradients(network, batches[0])
    before = {}
    for name, gradient in gradients.items():
        before[name] = network.read(name)
        network.put(name, optimizers.advance_first(optimizer, before[name], gradient))
    loss, slopes = accumulate_gradients(network, batches[1 % len(batches)])
    tolerances = {name: compute_gradient_tolerance(dtype, predicted, name) for name in gradients}
    allowed = sum_loss_spread(optimizer, before, gradients, slopes, tolerances)
    return StepResult(optimizer, loss, allowed)


def sum_loss_spread(
    optimizer: str,
    before: Dict[str, numpy.ndarray],
    gradients: Dict[str, numpy.ndarray],
    slopes: Dict[str, numpy.ndarray],
    tolerances: Dict[str, float],
) -> float:
    """Return by how much the loss after a first update may be off.

    A loss follows a gradient smoothly, so it is the sum over all values of its slope, times by how
    far the optimizer moves a value whose gradient is off by the tolerance, and by how far its own
    arithmetic in float32 does.
    """
    total = 0.0
    for name, gradient in gradients.items():
        spread = measure_spread(optimizer, before[name], gradient, tolerances[name])
        total += float((numpy.abs(slopes[name]) * spread).sum())
    return total


def measure_spread(
    optimizer: str, values: numpy.ndarray, gradient: numpy.ndarray, tolerance: float
) -> numpy.ndarray:
    """Return by how far a first update may be off, per value, if the gradient is off.

    By its tolerance times its root mean square, either way, and by the update's own arithmetic in
    float32. A gradient of 0 is one in float32, too.
    """
    off = numpy.where(gradient, tolerance * float(numpy.sqrt((gradient**2).mean())), 0.0)
    exact, more, less = (
        optimizers.advance_first(optimizer, values, gradient + sign * off)
        for sign in (0.0, 1.0, -1.0)
    )
    spread: numpy.ndarray = numpy.abs(more - less) + UPDATE_TOLERANCE * numpy.abs(exact - values)
    return spread


def _widen(batch: Batch) -> Batch:
    if batch.inputs.dtype.kind == "i":
        return batch
    return batch._replace(inputs=batch.inputs.astype(numpy.float64))
