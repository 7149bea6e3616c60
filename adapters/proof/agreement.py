"""Verification of a framework's loss and gradients against the reference, before timing."""

import math
from typing import Dict, Iterator, List, NamedTuple, Tuple

import numpy

from velodrome.adapters.contract import Adapter, Handle
from velodrome.adapters.models import MODELS
from velodrome.adapters.proof import seeding
from velodrome.adapters.proof.collective_results import compute_expected_output, name_source
from velodrome.adapters.proof.disagreement import Disagreed as Disagreed
from velodrome.adapters.proof.disagreement import format_table
from velodrome.adapters.proof.prediction import list_weak
from velodrome.adapters.proof.reference import ExpectedResults, Reference, draw_signs
from velodrome.adapters.proof.relative_errors import compute_relative_error, measure_distance
from velodrome.adapters.proof.sketch import compute_sketch
from velodrome.adapters.protocol import ParameterError, Verified, monotonic_ns
from velodrome.adapters.tolerances import SCALE_TOLERANCE


class ResultErrors(NamedTuple):
    """Errors of one result: of its loss, and of the gradient nearest to or beyond its tolerance.

    scale: the median over the parameters of <g, ref> / <ref, ref>.
    """

    loss: float
    gradient: float = 0.0
    parameter: str = ""
    scale: float = 1.0

    def list_faults(self, reference: Reference) -> Tuple[str, ...]:
        """Describe each error beyond tolerance; empty if there is none. nan is beyond."""
        found, allowed = [], reference.loss_tolerance
        if not self.loss <= allowed:
            found.append("loss is off by {:.2g} (allowed {:.2g})".format(self.loss, allowed))
        if self.parameter:
            allowed = reference.gradient_tolerance(self.parameter)
        if self.parameter and not self.gradient <= allowed:
            text = "the gradient of {} is off by {:.2g} (allowed {:.2g})"
            found.append(text.format(self.parameter, self.gradient, allowed))
        elif not abs(self.scale - 1.0) <= SCALE_TOLERANCE:
            text = "most gradients are {:.2g} times as long as the reference's"
            found.append(text.format(self.scale))
        return tuple(found)


def verify(reference: Reference, adapter: Adapter) -> Verified:
    """Verify the losses of all batches and every gradient; Disagreed if one exceeds its tolerance.

    The adapter has the network built, all batches loaded, and dropout off. Each checked batch's
    gradient is compared with its own reference; the sum over all batches with that sum,
    so that one wrong batch among a hundred shows. A gradient's error is |g - ref| / |ref|, known
    from sketches to about 2 % of itself (exactly for small gradients).
    """
    if not reference.losses:
        return _verify_output(reference, adapter)
    collector = _ErrorCollector(reference)
    for index in range(len(reference.losses)):
        collector.take(index, adapter)
    parameters = _parameter_errors(reference, collector.worst)
    loss_error = _worst(error for _, error in collector.losses)
    _require(reference, parameters, loss_error, collector.scale)
    return Verified(
        collector.losses[0][0],
        loss_error,
        _worst(entry.error for entry in parameters),
        parameters,
        adapter.notes() + _tie_notes(reference) + list_weak(reference.predicted),
        monotonic_ns(),
    )


def measure_forward_errors(
    expected: ExpectedResults, place: int, adapter: Adapter, handle: Handle
) -> ResultErrors:
    """Return the errors of a forward call on the batch at `place` of the expected ones."""
    return ResultErrors(compute_relative_error(adapter.loss(handle), expected.losses[place]))


def measure_gradient_errors(
    reference: Reference, expected: ExpectedResults, place: int, adapter: Adapter, handle: Handle
) -> ResultErrors:
    """Return the errors of a gradient call. Disagreed if names or shapes are not the model's."""
    worst = ResultErrors(compute_relative_error(adapter.loss(handle), expected.losses[place]))
    largest = 0.0
    scales = []
    for name, gradient in iterate_gradients(reference, adapter, handle):
        found, wanted = compute_sketch(name, gradient), expected.sketches[name][place]
        error = measure_distance(found, wanted)
        scales.append(_measure_scale(found, wanted))
        share = error / reference.gradient_tolerance(name)
        if not share <= largest:
            worst, largest = worst._replace(gradient=error, parameter=name), share
    return worst._replace(scale=float(numpy.median(scales)) if scales else 1.0)


def iterate_gradients(
    reference: Reference, adapter: Adapter, handle: Handle
) -> Iterator[Tuple[str, numpy.ndarray]]:
    """Yield each trained parameter's gradient. Disagreed if names or shapes are not the model's."""
    return _iterate_trained("gradient", reference, adapter.gradients(handle))


def iterate_parameters(
    reference: Reference, adapter: Adapter
) -> Iterator[Tuple[str, numpy.ndarray]]:
    """Yield each trained parameter's values. Disagreed if names or shapes are not the model's."""
    return _iterate_trained("value", reference, adapter.parameters())


def _iterate_trained(
    what: str, reference: Reference, found: Iterator[Tuple[str, numpy.ndarray]]
) -> Iterator[Tuple[str, numpy.ndarray]]:
    missing = set(reference.shapes)
    for name, values in found:
        if name not in missing:
            text = "{} of {}, which is not trained or was given before"
            raise Disagreed(text.format(what, name))
        missing.remove(name)
        if tuple(values.shape) != reference.shapes[name]:
            raise Disagreed(
                "{} of {} has shape {}, not {}".format(
                    what, name, tuple(values.shape), reference.shapes[name]
                )
            )
        yield name, values
    if missing:
        raise Disagreed("no {} of {}".format(what, ", ".join(sorted(missing))))


def _measure_scale(found: numpy.ndarray, expected: numpy.ndarray) -> float:
    """Return <gradient, reference> / <reference, reference>, 1 if the reference is 0."""
    square = float((expected * expected).sum())
    with numpy.errstate(invalid="ignore"):
        return float((found * expected).sum()) / square if square else 1.0


def require_values(
    output: numpy.ndarray, expected: numpy.ndarray, source: str = "the input's"
) -> None:
    """Raise Disagreed unless output and expected are equal, value by value.

    source: names in the error what the values should be.
    """
    if output.shape != expected.shape:
        raise Disagreed("output of shape {}, not {}".format(output.shape, expected.shape))
    wrong = int((output != expected).sum())
    if wrong:
        raise Disagreed("{} of {} values are not {}".format(wrong, expected.size, source))


class _ErrorCollector(object):
    """Errors over batches: of each loss, and the worst per parameter."""

    def __init__(self, reference: Reference) -> None:
        self.losses: List[Tuple[float, float]] = []
        self.worst: Dict[str, float] = {}
        self.scale = 1.0  # of the batch whose median is farthest from 1
        self._reference = reference
        self._signs = draw_signs(len(reference.losses), reference.seed)
        self._total: Dict[str, numpy.ndarray] = {}

    def take(self, index: int, adapter: Adapter) -> None:
        """Add forward and gradient of one batch; with the last one, compare the sum of all."""
        self._take_loss(index, adapter.loss(adapter.forward(index)))
        if not self._reference.shapes:
            return
        handle = adapter.gradient(index)
        self._take_loss(index, adapter.loss(handle))
        scales = []
        for name, gradient in iterate_gradients(self._reference, adapter, handle):
            scales += self._take_gradient(index, name, gradient)
        if scales:
            self.scale = max(self.scale, float(numpy.median(scales)), key=_measure_offset)
        if index == len(self._reference.losses) - 1:
            for name, added in self._total.items():
                self._note(name, compute_sketch(name, added), self._reference.total[name])

    def _take_loss(self, index: int, loss: float) -> None:
        self.losses.append((loss, compute_relative_error(loss, self._reference.losses[index])))

    def _take_gradient(self, index: int, name: str, gradient: numpy.ndarray) -> List[float]:
        """Note the error; return the scale if the batch is a checked one, else nothing."""
        reference = self._reference
        scales = []
        if index in reference.checked:
            expected = reference.sketches[name][reference.checked.index(index)]
            found = compute_sketch(name, gradient)
            self._note(name, found, expected)
            scales.append(_measure_scale(found, expected))
        if reference.total:
            if name not in self._total:
                self._total[name] = numpy.zeros(gradient.shape, numpy.float32)
            if self._signs[index] > 0:
                self._total[name] += gradient
            else:
                self._total[name] -= gradient
        return scales

    def _note(self, name: str, found: numpy.ndarray, expected: numpy.ndarray) -> None:
        error = measure_distance(found, expected)
        self.worst[name] = _larger(self.worst.get(name, 0.0), error)


def _verify_output(reference: Reference, adapter: Adapter) -> Verified:
    """Verify a model without a loss, a copy or a collective, value by value."""
    model = MODELS[reference.model]
    batches = seeding.draw_batches(model, reference.batch_size, reference.seed, reference.draws)
    for index in reference.checked:
        expected = compute_expected_output(model, batches[index].inputs)
        require_values(adapter.output(adapter.forward(index)), expected, name_source(model))
    return Verified(0.0, 0.0, 0.0, (), adapter.notes(), monotonic_ns())


def _larger(left: float, right: float) -> float:
    """Return the larger value; nan if either is nan, unlike max."""
    return float(numpy.maximum(left, right))


def _measure_offset(scale: float) -> float:
    return math.inf if math.isnan(scale) else abs(scale - 1.0)


def _worst(errors: Iterator[float]) -> float:
    worst = 0.0
    for error in errors:
        worst = _larger(worst, error)
    return worst


def _parameter_errors(reference: Reference, worst: Dict[str, float]) -> Tuple[ParameterError, ...]:
    return tuple(
        ParameterError(
            name,
            shape,
            float(reference.norms[name][0]),
            worst[name],
            reference.gradient_tolerance(name),
        )
        for name, shape in reference.shapes.items()
    )


def _require(
    reference: Reference,
    parameters: Tuple[ParameterError, ...],
    loss_error: float,
    scale: float,
) -> None:
    """Raise Disagreed, naming the worst error, unless all are within tolerance. nan never is."""
    faults = []
    bad = [entry for entry in parameters if not entry.error <= entry.allowed]
    if bad:
        worst = max(bad, key=lambda entry: math.inf if math.isnan(entry.error) else entry.error)
        faults.append(
            "{} of {} gradients are off, the worst is {}: {:.2g} (allowed {:.2g})".format(
                len(bad), len(parameters), worst.name, worst.error, worst.allowed
            )
        )
    faults += ResultErrors(loss_error, scale=1.0 if bad else scale).list_faults(reference)
    if faults:
        detail = format_table(parameters, loss_error)
        raise Disagreed("; ".join(faults), parameters, loss_error, detail)


def _tie_notes(reference: Reference) -> Tuple[str, ...]:
    if not reference.near_ties:
        return ()
    return (
        "{} examples have a near-tie: a gradient may be off by rounding alone".format(
            reference.near_ties
        ),
    )
