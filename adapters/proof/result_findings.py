"""One result held against the reference, as what a check found."""

from typing import Tuple

from velodrome.adapters.contract import Batch, Handle
from velodrome.adapters.proof import agreement
from velodrome.adapters.proof.agreement import Disagreed, Errors
from velodrome.adapters.proof.reference import Expected
from velodrome.adapters.proof.timed_phase import Finding, Proof
from velodrome.adapters.protocol import FAILED, PASSED


def agreement_finding(
    proof: Proof, phase: str, expected: Expected, place: int, handle: Handle
) -> Finding:
    if phase == "forward":
        errors = agreement.errors_of_forward(expected, place, proof.adapter, handle)
    else:
        errors = agreement.errors_of_gradient(
            proof.reference, expected, place, proof.adapter, handle
        )
    return finding(errors, proof, phase)


def finding(errors: Errors, proof: Proof, phase: str) -> Finding:
    figures: Tuple[Tuple[str, float], ...] = (("loss_error", errors.loss),)
    if phase == "gradient":
        figures += (("gradient_error", errors.gradient),)
    faults = errors.faults(proof.request.dtype)
    return Finding(FAILED if faults else PASSED, figures, "; ".join(faults))


def copy_finding(proof: Proof, batch: Batch, handle: Handle) -> Finding:
    try:
        agreement.require_copy(proof.adapter.output(handle), batch.inputs)
    except Disagreed as error:
        return Finding(FAILED, (), error.reason)
    return Finding(PASSED, (("values", float(batch.inputs.size)),))
