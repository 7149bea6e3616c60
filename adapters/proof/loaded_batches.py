"""Comparison of a loader's batches, value by value, and of the gradients of such batches."""

from typing import Callable, Dict, NamedTuple, Tuple

import numpy

from velodrome.adapters.contract import Batch, Handle
from velodrome.adapters.proof import agreement, tie_distance
from velodrome.adapters.proof.relative_errors import compute_relative_error, measure_distance
from velodrome.adapters.proof.sketch import compute_sketch
from velodrome.adapters.proof.timed_phase import CheckFinding, ProofContext
from velodrome.adapters.protocol import FAILED, PASSED
from velodrome.adapters.tolerances import JUMP


class GradientResult(NamedTuple):
    """A loss, and the sketch of each trained parameter's gradient."""

    loss: float
    sketches: Dict[str, numpy.ndarray]


def check_loaded(proof: ProofContext, handle: Handle) -> CheckFinding:
    """Compare the batch of the last call with the one whose turn it was, drawn from the seed."""
    number = proof.data.last
    found, expected = proof.adapter.loaded(handle), proof.data.draw(number)
    count = 0
    for name, own, wanted in zip(Batch._fields, found, expected):
        if own is None or wanted is None:
            wrong = "missing" if wanted is not None else "" if own is None else "unexpected"
        elif own.shape != wanted.shape or own.dtype != wanted.dtype:
            wrong = "{} {}, not {} {}".format(own.dtype, own.shape, wanted.dtype, wanted.shape)
        else:
            unlike = int((own != wanted).sum())
            wrong = "not the data set's in {} of {} values".format(unlike, own.size) * bool(unlike)
            count += own.size
        if wrong:
            reason = "the {} of batch {} are {}".format(name, number, wrong)
            return CheckFinding(FAILED, (), reason)
    return CheckFinding(PASSED, (("values", float(count)),))


def check_fed_gradient(proof: ProofContext, call: Callable[[int], Handle]) -> CheckFinding:
    """Compare the gradient of the next batch with that of an equal batch, loaded beforehand.

    Gradients of the latter kind are proven against the reference. Dropout is off meanwhile.
    """
    if proof.drops:
        proof.adapter.set_dropout(False)
    found = read_gradient(proof, call(0))
    expected = differentiate_loaded(proof, proof.data.draw(proof.data.last))
    proof.adapter.load(proof.batches)
    if proof.drops:
        proof.adapter.set_dropout(True)
    return compare_gradients(proof, found, expected)


def differentiate_loaded(proof: ProofContext, batch: Batch) -> GradientResult:
    """Compute the gradient of a batch that takes the place of all loaded ones."""
    proof.adapter.load((batch,) * len(proof.batches))
    return read_gradient(proof, proof.adapter.gradient(0))


def read_gradient(proof: ProofContext, handle: Handle) -> GradientResult:
    """Read loss and gradients. Disagreed if names or shapes are not the model's."""
    gradients = agreement.iterate_gradients(proof.reference, proof.adapter, handle)
    sketches = {name: compute_sketch(name, gradient) for name, gradient in gradients}
    return GradientResult(proof.adapter.loss(handle), sketches)


def compare_gradients(
    proof: ProofContext, found: GradientResult, expected: GradientResult
) -> CheckFinding:
    """Compare by the tolerances of the reference: both may round.

    The examples of a data set are not chosen so that none is near a jump of its gradient: rounding
    may make one jump, which moves the gradients before it. Those of another batch differ by more.
    """
    loss_error = compute_relative_error(found.loss, expected.loss)
    errors: Dict[str, Tuple[float, float]] = {}
    jumping = set(tie_distance.list_before_jumps(proof.model))
    for name, sketch in found.sketches.items():
        allowed = proof.reference.gradient_tolerance(name)
        if name.rsplit(".", 1)[0] in jumping:
            allowed = max(allowed, JUMP)
        errors[name] = (measure_distance(sketch, expected.sketches[name]), allowed)
    worst = max(errors, key=lambda name: _excess(*errors[name]))
    figures = (("loss_error", loss_error), ("gradient_error", errors[worst][0]))
    reason = ""
    if not loss_error <= proof.reference.loss_tolerance:
        reason = "its loss is off by {:.2g}".format(loss_error)
    elif not errors[worst][0] <= errors[worst][1]:
        reason = "its gradient of {} is off by {:.2g}".format(worst, errors[worst][0])
    if not reason:
        return CheckFinding(PASSED, figures)
    return CheckFinding(FAILED, figures, reason + " from that of the same batch loaded beforehand")


def _excess(error: float, allowed: float) -> float:
    """Return the error over the allowed one; nan is beyond all."""
    return float("inf") if numpy.isnan(error) else error / allowed
