"""Whether a framework computes what the reference says: the proof before any time counts."""

import math
from typing import Dict, Iterator, List, Optional, Tuple

import numpy

from velodrome.adapters import seeding
from velodrome.adapters.contract import Adapter, Handle
from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.models.layers import Dropout, Model
from velodrome.adapters.protocol import ParameterError, Verified, monotonic_ns
from velodrome.adapters.reference import Reference
from velodrome.adapters.sketch import sketch

LOSS_TOLERANCE = 1e-4
GRADIENT_TOLERANCES = {"float32": 1e-3}
_SIGMAS = 5.0


class Disagreed(Exception):
    """A framework computes something else than the model. The text is one line for a table."""

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


def verify(reference: Reference, adapter: Adapter, dtype: str = "float32") -> Verified:
    """Disagreed unless loss and every gradient of every checked batch are within tolerance.

    The adapter has the network built, all batches of the reference loaded, and dropout off.
    A gradient's error is |g - ref| / |ref|, known from sketches to about 2 % of itself (exactly for
    small gradients).
    """
    if not reference.losses:
        return _verify_output(reference, adapter)
    losses: List[Tuple[float, float]] = []
    worst: Dict[str, float] = {}
    for position, index in enumerate(reference.checked):
        forward = adapter.loss(adapter.forward(index))
        handle = adapter.gradient(index)
        expected = reference.losses[position]
        losses.extend((loss, _relative(loss, expected)) for loss in (forward, adapter.loss(handle)))
        for name, error in _gradient_errors(reference, position, adapter, handle):
            worst[name] = _larger(worst.get(name, 0.0), error)
    parameters = _parameter_errors(reference, worst)
    loss_error = _worst(error for _, error in losses)
    _require(parameters, loss_error, GRADIENT_TOLERANCES[dtype])
    return Verified(
        losses[0][0],
        loss_error,
        _worst(entry.error for entry in parameters),
        parameters,
        adapter.notes() + _tie_notes(reference),
        monotonic_ns(),
    )


def check_dropout(model: Model, adapter: Adapter, batch_size: int = 1) -> Tuple[str, ...]:
    """Turn dropout on and hold it against the model; it stays on. Notes of what was found.

    Each layer's kept share must be within 5 standard deviations of 1 - rate, and two calls of
    forward must differ in their loss, so that the call that is timed does drop. How many inputs
    were not zero is not known: a quarter of batch_size examples is taken, few enough behind a ReLU.
    """
    layers = [layer for layer in model.layers if isinstance(layer, Dropout)]
    if not layers:
        return ()
    adapter.set_dropout(True)
    shares = adapter.kept_shares()
    sizes = shapes.output_shapes(model)
    notes = tuple(
        _share_note(
            layer, shares.get(layer.name), shapes.product(sizes[layer.name]) * batch_size / 4
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


def _share_note(layer: Dropout, share: Optional[float], count: float) -> str:
    if share is None:
        raise Disagreed("dropout {} is not there: no kept share of it".format(layer.name))
    expected = 1.0 - layer.rate
    allowed = _SIGMAS * math.sqrt(layer.rate * expected / count)
    text = "dropout {} kept {:.4f} of its inputs, {:.2f} +- {:.4f} expected".format(
        layer.name, share, expected, allowed
    )
    if not abs(share - expected) <= allowed:
        raise Disagreed(text)
    return text


def _verify_output(reference: Reference, adapter: Adapter) -> Verified:
    """A model without a loss copies: its output is its input, value by value."""
    model = MODELS[reference.model]
    batches = seeding.batches(model, reference.batch_size, reference.seed, reference.draws)
    for index in reference.checked:
        output, expected = adapter.output(adapter.forward(index)), batches[index].inputs
        if output.shape != expected.shape:
            raise Disagreed("output of shape {}, not {}".format(output.shape, expected.shape))
        wrong = int((output != expected).sum())
        if wrong:
            raise Disagreed("{} of {} values are not the input's".format(wrong, expected.size))
    return Verified(0.0, 0.0, 0.0, (), adapter.notes(), monotonic_ns())


def _gradient_errors(
    reference: Reference, position: int, adapter: Adapter, handle: Handle
) -> Iterator[Tuple[str, float]]:
    """Per trained parameter. Disagreed if the names or the shapes are not the model's."""
    missing = set(reference.norms)
    for name, gradient in adapter.gradients(handle):
        if name not in missing:
            raise Disagreed("gradient of {}, which is not trained or came before".format(name))
        missing.remove(name)
        if tuple(gradient.shape) != reference.shapes[name]:
            raise Disagreed(
                "gradient of {} has shape {}, not {}".format(
                    name, tuple(gradient.shape), reference.shapes[name]
                )
            )
        yield name, _error(reference, position, name, gradient)
    if missing:
        raise Disagreed("no gradient of {}".format(", ".join(sorted(missing))))


def _error(reference: Reference, position: int, name: str, gradient: numpy.ndarray) -> float:
    difference = sketch(name, gradient) - reference.sketches[name][position]
    distance = float(numpy.linalg.norm(difference))
    norm = float(reference.norms[name][position])
    return distance / norm if norm else (0.0 if distance == 0.0 else float("inf"))


def _relative(value: float, expected: float) -> float:
    return abs(value - expected) / abs(expected) if expected else abs(value)


def _larger(left: float, right: float) -> float:
    """The larger one; nan if either is nan, unlike max."""
    return float(numpy.maximum(left, right))


def _worst(errors: Iterator[float]) -> float:
    worst = 0.0
    for error in errors:
        worst = _larger(worst, error)
    return worst


def _parameter_errors(reference: Reference, worst: Dict[str, float]) -> Tuple[ParameterError, ...]:
    return tuple(
        ParameterError(name, shape, float(reference.norms[name][0]), worst[name])
        for name, shape in reference.shapes.items()
    )


def _require(parameters: Tuple[ParameterError, ...], loss_error: float, tolerance: float) -> None:
    """Disagreed, naming the worst, unless all is within tolerance. nan never is."""
    faults = []
    bad = [entry for entry in parameters if not entry.error <= tolerance]
    if bad:
        worst = max(bad, key=lambda entry: math.inf if math.isnan(entry.error) else entry.error)
        faults.append(
            "{} of {} gradients are off, most {}: {:.2g} (allowed {:g})".format(
                len(bad), len(parameters), worst.name, worst.error, tolerance
            )
        )
    if not loss_error <= LOSS_TOLERANCE:
        faults.append("loss is off by {:.2g} (allowed {:g})".format(loss_error, LOSS_TOLERANCE))
    if faults:
        detail = _table(parameters, loss_error)
        raise Disagreed("; ".join(faults), parameters, loss_error, detail)


def _table(parameters: Tuple[ParameterError, ...], loss_error: float) -> str:
    width = max([len("parameter")] + [len(entry.name) for entry in parameters])
    lines = ["{:{}}  {:>9}  {:>9}  shape".format("parameter", width, "error", "|ref|")]
    lines += [
        "{:{}}  {:9.2e}  {:9.2e}  {}".format(
            entry.name, width, entry.error, entry.reference_norm, "x".join(map(str, entry.shape))
        )
        for entry in parameters
    ]
    return "\n".join(lines + ["{:{}}  {:9.2e}".format("loss", width, loss_error)])


def _tie_notes(reference: Reference) -> Tuple[str, ...]:
    if not reference.near_ties:
        return ()
    return (
        "{} examples hold a near-tie: a gradient may be off by rounding alone".format(
            reference.near_ties
        ),
    )
