"""Checks of a proof: every parameter of the model, the right shape, within tolerance."""

import math
from collections.abc import Sequence

from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.models.code_kinds import is_code
from velodrome.adapters.protocol import Failed, ParameterError, Request, Verified
from velodrome.adapters.tolerances import (
    DTYPES,
    PredictedErrors,
    compute_gradient_tolerance,
    compute_loss_tolerance,
)
from velodrome.agents.validation.arrivals import ProofRejected, ProtocolViolation


def require_proof(verified: Verified, request: Request, predicted: PredictedErrors) -> None:
    """Raise ProofRejected for an invalid proof, ProtocolViolation for a contradictory one.

    predicted: the errors in the reference's file, as it was before the worker got a copy.
    """
    _require_parameters(verified.parameters, _gradients_of(request.model, predicted))
    for entry in verified.parameters:
        tolerance = _tolerance(request.dtype, predicted, entry.name)
        _require_within(f"the gradient of {entry.name}", entry.error, tolerance)
        if not 0 <= entry.reference_norm < math.inf:
            raise ProofRejected(
                f"the reference of {entry.name} has the norm {entry.reference_norm:g}"
            )
    allowed = compute_loss_tolerance(request.dtype, predicted)
    _require_within("the loss", verified.loss_error, allowed)
    if not math.isfinite(verified.loss):
        raise ProofRejected(f"the loss is {verified.loss:g}")
    worst = max((entry.error for entry in verified.parameters), default=0.0)
    if verified.gradient_error != worst:
        error = f"gradient_error is {verified.gradient_error:g}, the largest error {worst:g}"
        raise ProtocolViolation(f"`verified` contradicts its parameters: {error}")


def require_known(failed: Failed, request: Request, predicted: PredictedErrors) -> None:
    """Raise ProtocolViolation for errors of parameters that the model does not train."""
    wanted = _gradients_of(request.model, predicted)
    names = [entry.name for entry in failed.parameters]
    unknown = [entry for entry in failed.parameters if wanted.get(entry.name) != entry.shape]
    if unknown or len(names) > len(set(names)):
        name = unknown[0].name if unknown else names[0]
        raise ProtocolViolation(f"`failed` has an error of {name!r:.100}, not a model's parameter")


def replace_tolerances(
    parameters: Sequence[ParameterError], request: Request, predicted: PredictedErrors
) -> tuple[ParameterError, ...]:
    """Return the errors with the tolerances that hold here, whatever the worker sent; 0: none."""
    return tuple(
        entry._replace(allowed=_find_tolerance(request.dtype, predicted, entry.name))
        for entry in parameters
    )


def _find_tolerance(dtype: str, predicted: PredictedErrors, name: str) -> float:
    try:
        return _tolerance(dtype, predicted, name)
    except ProofRejected:
        return 0.0


def _gradients_of(model: str, predicted: PredictedErrors) -> dict[str, shapes.Shape]:
    """Map the parameters that have a gradient to their shapes; of code the reference knows them."""
    if is_code(MODELS[model]):
        return predicted.shapes
    has_gradient = "gradient" in shapes.list_timed_phases(MODELS[model])
    trained = shapes.list_trained(MODELS[model]) if has_gradient else ()
    return {entry.name: entry.shape for entry in trained}


def _require_parameters(
    parameters: Sequence[ParameterError], wanted: dict[str, shapes.Shape]
) -> None:
    """Raise ProofRejected unless they are exactly the trained parameters."""
    names = [entry.name for entry in parameters]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ProofRejected(f"no gradient of {', '.join(missing)}")
    if len(names) != len(wanted):
        raise ProofRejected(f"gradients of {len(names)} parameters, the model trains {len(wanted)}")
    for entry in parameters:
        if entry.shape != wanted[entry.name]:
            shape = f"{entry.shape}, not {wanted[entry.name]}"
            raise ProofRejected(f"the gradient of {entry.name} has the shape {shape}")


def _require_within(what: str, error: float, tolerance: float) -> None:
    """Raise ProofRejected for an error beyond tolerance; NaN always is."""
    if not 0 <= error <= tolerance:
        raise ProofRejected(f"{what} is off by {error:.2g} (allowed {tolerance:g})")


def _tolerance(dtype: str, predicted: PredictedErrors, name: str) -> float:
    if dtype not in DTYPES:
        raise ProofRejected(f"there is no tolerance for {dtype}")
    try:
        return compute_gradient_tolerance(dtype, predicted, name)
    except KeyError:
        raise ProofRejected(f"the reference predicts no error of {name} in {dtype}") from None
