"""Prediction of the rounding errors of a reference's batches, while their gradients are there."""

import math
from typing import Dict, List, Optional, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.network import Network
from velodrome.adapters.models import products, shapes
from velodrome.adapters.models.layers import Sequences
from velodrome.adapters.proof import prediction, seeding
from velodrome.adapters.proof.batch_results import BatchResult, accumulate_gradients
from velodrome.adapters.tolerances import PredictedErrors

# A call of more operations takes seconds in float64.
LARGE_FLOPS = 2e9
# An error of one batch is an estimate from as many random numbers: from so few, one that may be
# far too small.
FEW_VALUES = 16


class ErrorPredictor(object):
    """Predicts the errors of a dtype in the batches with which a framework will be compared.

    numbers: of the predicted ones. A large model whose batches are of one shape has one of them
    predicted: the others share most of its examples, or are as long.
    """

    def __init__(
        self,
        network: Network,
        dtype: str,
        seed: int,
        batches: Sequence[Batch],
        judged: Sequence[int],
    ) -> None:
        """network: of the exact gradients. judged: numbers of the batches that are compared."""
        self._model, self._devices = network.model, network.devices
        self._dtype, self._seed = dtype, seed
        self._batches, self._judged = batches, tuple(judged)
        self._batch_size = len(batches[0].inputs)
        self._rounded: Optional[Network] = None
        self._found: Dict[int, PredictedErrors] = {}
        self.numbers = self._choose()

    def _choose(self) -> Tuple[int, ...]:
        model = self._model
        if not shapes.list_trained(model) or not prediction.needs_prediction(model, self._dtype):
            return ()
        flops = products.count_gradient_flops(model, self._batch_size)
        is_predicted = isinstance(model.input, Sequences) or flops <= LARGE_FLOPS
        return self._judged if is_predicted else self._judged[:1]

    def observe(self, number: int, loss: float, gradients: Dict[str, numpy.ndarray]) -> None:
        """Predict one batch, whose exact loss and gradients are given."""
        if self._rounded is None:
            weights = seeding.draw_weights(self._model, self._seed)
            self._rounded = prediction.make_rounded_network(self._model, weights, self._dtype)
            self._rounded.devices = self._devices
        rounded = accumulate_gradients(self._rounded, self._batches[number], self._dtype)
        self._found[number] = prediction.measure_errors((loss, gradients), rounded)

    def summarize(
        self, results: Sequence[BatchResult], total: Dict[str, numpy.ndarray], count: int
    ) -> PredictedErrors:
        """Return the errors to expect in the worst of the judged batches.

        results: of all batches. total: the sketches of the sum of `count` batches, if compared.
        The rounded network is let go.
        """
        self._rounded = None
        least = prediction.estimate_sum_error(self._model, self._batch_size)
        if not self._found:
            return PredictedErrors(least)
        ordered = self.numbers + tuple(own for own in self._judged if own not in self.numbers)
        norms: Dict[str, List[float]] = {
            name: [results[number].norms[name] for number in ordered]
            for name in self._found[self.numbers[0]].gradients
        }
        # Errors of `count` batches, added up by random signs, grow with the root of their number.
        for name, sketch in total.items():
            norms[name].append(float(numpy.linalg.norm(sketch)) / math.sqrt(count))
        few = [
            entry.name
            for entry in shapes.list_trained(self._model)
            if shapes.count_values(entry.shape) <= FEW_VALUES
        ]
        merged = prediction.merge_errors([self._found[own] for own in self.numbers], norms, few)
        covered = prediction.cover_jumps(self._model, self._dtype, merged)
        return covered._replace(loss=max(merged.loss, least))
