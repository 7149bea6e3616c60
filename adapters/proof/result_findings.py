"""Comparisons of one result with the reference, as findings of a check."""

from typing import Tuple

import numpy

from velodrome.adapters.contract import Batch, Handle
from velodrome.adapters.proof import agreement
from velodrome.adapters.proof.agreement import Disagreed, ResultErrors
from velodrome.adapters.proof.collective_results import compute_expected_output, name_source
from velodrome.adapters.proof.phase_references import OUTPUT
from velodrome.adapters.proof.reference import ExpectedResults
from velodrome.adapters.proof.relative_errors import measure_distance
from velodrome.adapters.proof.sketch import compute_sketch
from velodrome.adapters.proof.timed_phase import CheckFinding, ProofContext
from velodrome.adapters.protocol import FAILED, PASSED


def check_agreement(
    proof: ProofContext, phase: str, expected: ExpectedResults, place: int, handle: Handle
) -> CheckFinding:
    """Compare a result's loss with the reference's and, of a gradient call, each gradient."""
    if phase == "gradient":
        errors = agreement.measure_gradient_errors(
            proof.reference, expected, place, proof.adapter, handle
        )
    else:
        errors = agreement.measure_forward_errors(expected, place, proof.adapter, handle)
    return judge_errors(errors, proof, phase)


def check_output(proof: ProofContext, expected: numpy.ndarray, handle: Handle) -> CheckFinding:
    """Compare an output of evaluation with the sketch of the reference's."""
    output = proof.adapter.output(handle)
    error = measure_distance(compute_sketch(OUTPUT, output), expected)
    allowed = proof.reference.output_tolerance
    figures = (("output_error", error), ("output_error_allowed", allowed))
    if error <= allowed:
        return CheckFinding(PASSED, figures)
    text = "the output is off by {:.2g} (allowed {:.2g})"
    return CheckFinding(FAILED, figures, text.format(error, allowed))


def judge_errors(errors: ResultErrors, proof: ProofContext, phase: str) -> CheckFinding:
    figures: Tuple[Tuple[str, float], ...] = (("loss_error", errors.loss),)
    if phase == "gradient":
        figures += (("gradient_error", errors.gradient),)
    faults = errors.list_faults(proof.reference)
    return CheckFinding(FAILED if faults else PASSED, figures, "; ".join(faults))


def check_values(proof: ProofContext, batch: Batch, handle: Handle) -> CheckFinding:
    """Compare the output of a model without a loss with the expected one, value by value."""
    expected = compute_expected_output(proof.model, batch.inputs)
    try:
        agreement.require_values(proof.adapter.output(handle), expected, name_source(proof.model))
    except Disagreed as error:
        return CheckFinding(FAILED, (), error.reason)
    return CheckFinding(PASSED, (("values", float(expected.size)),))
