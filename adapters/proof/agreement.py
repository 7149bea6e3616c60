"""Verification of a framework's loss and gradients against the reference, before timing."""

import math
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy

from velodrome.adapters.contract import Adapter, Handle
from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.models.layers import Dropout, Model
from velodrome.adapters.proof import seeding
from velodrome.adapters.proof.prediction import list_weak
from velodrome.adapters.proof.reference import ExpectedResults, Reference, draw_signs
from velodrome.adapters.proof.sketch import compute_sketch
from velodrome.adapters.protocol import ParameterError, Verified, monotonic_ns

_SIGMAS = 5.0


class Disagreed(Exception):
    """The framework computes something other than the model. The text is one line for a table."""

    def __init__(
        self,
        reason: str,
        parameters: Tuple[ParameterError, ...] = (),
        loss_error: float = float("nan"),
        detail: str = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parameters = parameters
        self.loss_error = loss_error
        self.detail = detail or reason


class ResultErrors(NamedTuple):
    """Errors of one result: of its loss, and of the gradient nearest to or beyond its tolerance."""

    loss: float
    gradient: float = 0.0
    parameter: str = ""

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
    _require(reference, parameters, loss_error)
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
    for name, gradient in iterate_gradients(reference, adapter, handle):
        error = measure_gradient_error(name, gradient, expected.sketches[name][place])
        share = error / reference.gradient_tolerance(name)
        if not share <= largest:
            worst, largest = worst._replace(gradient=error, parameter=name), share
    return worst


def iterate_gradients(
    reference: Reference, adapter: Adapter, handle: Handle
) -> Iterator[Tuple[str, numpy.ndarray]]:
    """Yield each trained parameter's gradient. Disagreed if names or shapes are not the model's."""
    missing = set(reference.shapes)
    for name, gradient in adapter.gradients(handle):
        if name not in missing:
            raise Disagreed("gradient of {}, which is not trained or was given before".format(name))
        missing.remove(name)
        if tuple(gradient.shape) != reference.shapes[name]:
            raise Disagreed(
                "gradient of {} has shape {}, not {}".format(
                    name, tuple(gradient.shape), reference.shapes[name]
                )
            )
        yield name, gradient
    if missing:
        raise Disagreed("no gradient of {}".format(", ".join(sorted(missing))))


def measure_gradient_error(name: str, gradient: numpy.ndarray, expected: numpy.ndarray) -> float:
    """Return |gradient - reference| / |reference|. expected: the reference's sketch."""
    distance = float(numpy.linalg.norm(compute_sketch(name, gradient) - expected))
    length = float(numpy.linalg.norm(expected))
    return distance / length if length else (0.0 if distance == 0.0 else float("inf"))


def compute_relative_error(value: float, expected: float) -> float:
    return abs(value - expected) / abs(expected) if expected else abs(value)


def require_copy(output: numpy.ndarray, expected: numpy.ndarray) -> None:
    """Raise Disagreed unless output and expected are equal, value by value."""
    if output.shape != expected.shape:
        raise Disagreed("output of shape {}, not {}".format(output.shape, expected.shape))
    wrong = int((output != expected).sum())
    if wrong:
        raise Disagreed("{} of {} values are not the input's".format(wrong, expected.size))


def check_dropout(model: Model, adapter: Adapter, batch_size: int = 1) -> Tuple[str, ...]:
    """Turn dropout on, compare it with the model and leave it on. Return notes of the results.

    Each layer's kept share must be within 5 standard deviations of 1 - rate, and two calls of
    forward must differ in their loss, so that the timed call does drop. The number of inputs that
    are not zero is unknown: a quarter of the examples is taken, few enough behind a ReLU.
    """
    layers = [layer for layer in model.layers if isinstance(layer, Dropout)]
    if not layers:
        return ()
    adapter.set_dropout(True)
    shares = adapter.kept_shares()
    sizes = shapes.compute_output_shapes(model)
    notes = tuple(
        _share_note(
            layer, shares.get(layer.name), shapes.count_values(sizes[layer.name]) * batch_size / 4
        )
        for layer in layers
    )
    first, second = (adapter.loss(adapter.forward(0)) for _ in range(2))
    if first == second:
        raise Disagreed(
            "forward drops nothing: two calls with dropout active gave the same loss {!r}".format(
                first
            )
        )
    return notes


class _ErrorCollector(object):
    """Errors over batches: of each loss, and the worst per parameter."""

    def __init__(self, reference: Reference) -> None:
        self.losses: List[Tuple[float, float]] = []
        self.worst: Dict[str, float] = {}
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
        for name, gradient in iterate_gradients(self._reference, adapter, handle):
            self._take_gradient(index, name, gradient)
        if index == len(self._reference.losses) - 1:
            for name, added in self._total.items():
                self._note(name, added, self._reference.total[name])

    def _take_loss(self, index: int, loss: float) -> None:
        self.losses.append((loss, compute_relative_error(loss, self._reference.losses[index])))

    def _take_gradient(self, index: int, name: str, gradient: numpy.ndarray) -> None:
        reference = self._reference
        if index in reference.checked:
            place = reference.checked.index(index)
            self._note(name, gradient, reference.sketches[name][place])
        if reference.total:
            if name not in self._total:
                self._total[name] = numpy.zeros(gradient.shape, numpy.float32)
            if self._signs[index] > 0:
                self._total[name] += gradient
            else:
                self._total[name] -= gradient

    def _note(self, name: str, gradient: numpy.ndarray, expected: numpy.ndarray) -> None:
        error = measure_gradient_error(name, gradient, expected)
        self.worst[name] = _larger(self.worst.get(name, 0.0), error)


def _share_note(layer: Dropout, share: Optional[float], count: float) -> str:
    if share is None:
        raise Disagreed("the adapter gives no kept share of dropout {}".format(layer.name))
    expected = 1.0 - layer.rate
    allowed = _SIGMAS * math.sqrt(layer.rate * expected / count)
    text = "dropout {} kept {:.4f} of its inputs, {:.2f} +- {:.4f} expected".format(
        layer.name, share, expected, allowed
    )
    if not abs(share - expected) <= allowed:
        raise Disagreed(text)
    return text


def _verify_output(reference: Reference, adapter: Adapter) -> Verified:
    """Verify a model without a loss: a copy, whose output is its input, value by value."""
    model = MODELS[reference.model]
    batches = seeding.draw_batches(model, reference.batch_size, reference.seed, reference.draws)
    for index in reference.checked:
        require_copy(adapter.output(adapter.forward(index)), batches[index].inputs)
    return Verified(0.0, 0.0, 0.0, (), adapter.notes(), monotonic_ns())


def _larger(left: float, right: float) -> float:
    """Return the larger value; nan if either is nan, unlike max."""
    return float(numpy.maximum(left, right))


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
    reference: Reference, parameters: Tuple[ParameterError, ...], loss_error: float
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
    faults += ResultErrors(loss_error).list_faults(reference)
    if faults:
        detail = _table(parameters, loss_error)
        raise Disagreed("; ".join(faults), parameters, loss_error, detail)


def _table(parameters: Tuple[ParameterError, ...], loss_error: float) -> str:
    width = max([len("parameter")] + [len(entry.name) for entry in parameters])
    header = "{:{}}  {:>9}  {:>9}  {:>9}  shape"
    lines = [header.format("parameter", width, "error", "allowed", "|ref|")]
    lines += [
        "{:{}}  {:9.2e}  {:9.2e}  {:9.2e}  {}".format(
            entry.name,
            width,
            entry.error,
            entry.allowed,
            entry.reference_norm,
            "x".join(map(str, entry.shape)),
        )
        for entry in parameters
    ]
    return "\n".join(lines + ["{:{}}  {:9.2e}".format("loss", width, loss_error)])


def _tie_notes(reference: Reference) -> Tuple[str, ...]:
    if not reference.near_ties:
        return ()
    return (
        "{} examples have a near-tie: a gradient may be off by rounding alone".format(
            reference.near_ties
        ),
    )
