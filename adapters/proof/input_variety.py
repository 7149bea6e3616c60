"""A check that the timed batches hold different values."""

import numpy

from velodrome.adapters.models.layers import NoLoss
from velodrome.adapters.proof.timed_phase import CheckFinding, ProofContext
from velodrome.adapters.protocol import CANNOT_TELL, FAILED, PASSED
from velodrome.adapters.worker import cpu_caches


def check_input_variety(proof: ProofContext) -> CheckFinding:
    """Compare the batches on the host; other checks prove that the framework uses them."""
    own = [batch.inputs for batch in proof.batches]
    total, cache = sum(array.nbytes for array in own), cpu_caches.read_largest_bytes()
    figures = (("batches", len(own)), ("input_bytes", total), ("cache_bytes", cache))
    if any(_is_same(left, right) for left, right in zip(own, own[1:] + own[:1])):
        return CheckFinding(FAILED, figures, "two batches in a row hold the same values")
    is_copy = isinstance(proof.model.loss, NoLoss) and not proof.model.has_row_per_device
    if is_copy and 0 < total < 2 * cache:
        reason = (
            "{:.0f} MiB of input partly fit a cache of {:.0f} MiB, whose speed affects the time"
        )
        return CheckFinding(CANNOT_TELL, figures, reason.format(total / 2**20, cache / 2**20))
    return CheckFinding(PASSED, figures)


def _is_same(left: numpy.ndarray, right: numpy.ndarray) -> bool:
    return left.shape == right.shape and bool((left == right).all())
