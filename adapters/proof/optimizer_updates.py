"""Checks of the phases update and step: each parameter after two steps, value by value.

The framework's own gradients, which have been compared with the reference, are read before a step,
and the step is computed from them again in float64. So an update is proven to float32's rounding,
whatever the precision of its gradients is. With gradients of the reference it could not be: AdamW
divides each by its own size, so that one that is 0 but for rounding moves its parameter as far as
any other (docs/decisions/0011-an-update-is-proven-by-its-own-gradients.md).
"""

from typing import Dict, List, NamedTuple, Tuple

import numpy

from velodrome.adapters import optimizers
from velodrome.adapters.contract import Handle
from velodrome.adapters.proof import agreement
from velodrome.adapters.proof.phase_modes import Call, phase_mode
from velodrome.adapters.proof.reference import ExpectedResults
from velodrome.adapters.proof.relative_errors import compute_relative_error
from velodrome.adapters.proof.timed_phase import CheckFinding, ProofContext
from velodrome.adapters.protocol import CANNOT_TELL, FAILED, PASSED
from velodrome.adapters.tolerances import MOST, UPDATE_TOLERANCE

Arrays = Dict[str, numpy.ndarray]

STEPS = 2  # the second one shows momentum and the correction for the start
ROUNDINGS = 4 * 2.0**-24  # of a parameter, over its length
# The gradients of a step are computed anew, so that they may differ by twice their tolerance. A
# single value may differ by this multiple of it; AdamW may turn smaller values around.
UNSURE = 4.0
SURE_SHARE = 0.1  # of a parameter's values at least, to judge it


class ParameterUpdate(NamedTuple):
    """One parameter's update: its error over the length of the expected change, and the allowed.

    allowed 0: most of its gradient is rounding, and nothing can be said.
    """

    name: str
    error: float
    allowed: float


def check_updates(proof: ProofContext, phase: str, call: Call) -> CheckFinding:
    """Take STEPS steps from the first weights by the phase's own call, and check each.

    Dropout is off. The loss of each step is compared with the reference, too. Parameters are as
    before afterwards.
    """
    adapter, count = proof.adapter, len(proof.batches)
    found: List[ParameterUpdate] = []
    faults: List[str] = []
    losses: List[float] = []
    state = _UpdateChecker(proof, is_exact=phase == "update")
    with phase_mode(proof, phase) as kept:
        before = _read_parameters(proof)
        faults += _find_unlike(proof.weights, before)
        for number in range(STEPS):
            index = proof.places[0] if phase == "update" else number % count
            handle = kept if phase == "update" else adapter.gradient(index)
            gradients = _read_gradients(proof, handle)
            result = call(index)
            if phase == "step":
                losses.append(_check_step_loss(proof, number, adapter.loss(result), faults))
            after = _read_parameters(proof)
            found += state.compare(before, gradients, after)
            before = after
    return _judge(found, losses, faults)


def check_one_update(proof: ProofContext, call: Call, place: int) -> CheckFinding:
    """Check one update by the kept gradients of the checked batch at `place`."""
    state = _UpdateChecker(proof, is_exact=True)
    with phase_mode(proof, "update", place) as kept:
        before, gradients = _read_parameters(proof), _read_gradients(proof, kept)
        call(proof.places[place])
        return _judge(state.compare(before, gradients, _read_parameters(proof)), [], [])


def check_one_step(
    proof: ProofContext, call: Call, place: int, expected: ExpectedResults
) -> CheckFinding:
    """Check a step from the first weights on the batch at `place`, whose results are expected.

    The gradients of a call beside it are compared with the reference, the update with them.
    """
    adapter, index = proof.adapter, proof.places[place]
    state = _UpdateChecker(proof, is_exact=False)
    with phase_mode(proof, "step"):
        before, handle = _read_parameters(proof), adapter.gradient(index)
        errors = agreement.measure_gradient_errors(
            proof.reference, expected, place, adapter, handle
        )
        gradients = _read_gradients(proof, handle)
        loss = compute_relative_error(adapter.loss(call(index)), expected.losses[place])
        updates = state.compare(before, gradients, _read_parameters(proof))
    own = proof.reference
    faults = [*errors.list_faults(own), *agreement.ResultErrors(loss).list_faults(own)]
    return _judge(updates, [errors.loss, loss], faults)


class _UpdateChecker(object):
    """The optimizer's own state, in float64, over several steps."""

    def __init__(self, proof: ProofContext, is_exact: bool) -> None:  # noqa: FBT001
        self._proof, self._is_exact = proof, is_exact
        self._optimizer = proof.request.optimizer
        self._moments: Dict[str, optimizers.Moments] = {}
        self._sure: Arrays = {}
        self._number = 0

    def compare(self, before: Arrays, gradients: Arrays, after: Arrays) -> List[ParameterUpdate]:
        """Compare one step of every parameter."""
        self._number += 1
        return [self._compare(name, before[name], gradients[name], after[name]) for name in before]

    def _compare(
        self, name: str, before: numpy.ndarray, gradient: numpy.ndarray, after: numpy.ndarray
    ) -> ParameterUpdate:
        values, slope = (each.astype(numpy.float64) for each in (before, gradient))
        moments = self._moments.get(name) or optimizers.begin(self._optimizer, values)
        expected, self._moments[name] = optimizers.advance(
            self._optimizer,
            values,
            slope,
            moments,
            self._number,
            self._proof.adapter.early_epsilon,
        )
        allowed, change, off = UPDATE_TOLERANCE, expected - values, after - expected
        if not self._is_exact:
            tolerance = self._proof.reference.gradient_tolerance(name)
            allowed += 2 * tolerance
            if self._optimizer == "adamw":
                sure = self._find_sure(name, slope, tolerance)
                if sure.mean() < SURE_SHARE:
                    return ParameterUpdate(name, 0.0, 0.0)
                allowed = UPDATE_TOLERANCE + 2 * UNSURE * tolerance
                values, change, off = values[sure], change[sure], off[sure]
        length = float(numpy.linalg.norm(change))
        rounding = ROUNDINGS * float(numpy.linalg.norm(values))
        error = float(numpy.linalg.norm(off))
        if not length:
            return ParameterUpdate(name, error, rounding)
        return ParameterUpdate(name, error / length, min(MOST, allowed) + rounding / length)

    def _find_sure(self, name: str, slope: numpy.ndarray, tolerance: float) -> numpy.ndarray:
        """Return True for each value whose gradient was larger than rounding in every step."""
        least = UNSURE * tolerance * float(numpy.sqrt((slope**2).mean()))
        now: numpy.ndarray = numpy.abs(slope) > least
        self._sure[name] = now & self._sure[name] if name in self._sure else now
        return self._sure[name]


def _check_step_loss(proof: ProofContext, number: int, loss: float, faults: List[str]) -> float:
    """Return the relative error of a step's loss; a fault is added to `faults`."""
    own = proof.reference
    expected = own.step.loss if number else own.losses[0]
    allowed = own.loss_tolerance + (own.step.allowed / abs(expected) if number and expected else 0)
    error = compute_relative_error(loss, expected)
    if not error <= allowed:
        text = "the loss of step {} is off by {:.2g} (allowed {:.2g})"
        faults.append(text.format(number + 1, error, allowed))
    return error


def _find_unlike(weights: Arrays, found: Arrays) -> List[str]:
    """Describe a parameter that does not begin with its weights."""
    unlike = [name for name, values in found.items() if not (values == weights[name]).all()]
    return ["{} has not its first values again".format(unlike[0])] if unlike else []


def _judge(found: List[ParameterUpdate], losses: List[float], faults: List[str]) -> CheckFinding:
    """Return the finding: the update nearest to or beyond its tolerance, and all faults."""
    judged = [own for own in found if own.allowed > 0]
    # Values of 0 whose gradient is 0 stay 0, and leave nothing to be off by.
    moved = [own.name for own in found if own.allowed == 0 and own.error != 0]
    faults = [*faults, *("the values of {} are no longer 0".format(name) for name in moved)]
    worst = max(judged, key=_excess) if judged else ParameterUpdate("", 0.0, 0.0)
    figures: Tuple[Tuple[str, float], ...] = (
        ("update_error", worst.error),
        ("update_error_allowed", worst.allowed),
        ("updates_judged", float(len(judged))),
        ("updates", float(len(found))),
    )
    if losses:
        figures += (("loss_error", max(losses)),)
    if not judged and not faults:
        reason = "no update can be judged: rounding may turn each parameter's gradient around"
        return CheckFinding(CANNOT_TELL, figures, reason)
    if not worst.error <= worst.allowed:
        text = "the update of {} is off by {:.2g} of its length (allowed {:.2g})"
        faults = [*faults, text.format(worst.name, worst.error, worst.allowed)]
    return CheckFinding(FAILED if faults else PASSED, figures, "; ".join(faults))


def _excess(update: ParameterUpdate) -> float:
    """Return the error over the allowed one; nan is beyond all."""
    share = update.error / update.allowed
    return float("inf") if numpy.isnan(share) else share


def _read_parameters(proof: ProofContext) -> Arrays:
    """Read every trained parameter. Disagreed if names or shapes are not the model's."""
    return dict(agreement.iterate_parameters(proof.reference, proof.adapter))


def _read_gradients(proof: ProofContext, handle: Handle) -> Arrays:
    """Read every gradient, as copies: the next call may overwrite them."""
    return {
        name: numpy.array(gradient)
        for name, gradient in agreement.iterate_gradients(proof.reference, proof.adapter, handle)
    }
