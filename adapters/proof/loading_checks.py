"""Checks of the phases that read a data set, where those of other phases do not apply.

That the loader works ahead is a measurement, not a proof: the times of `load` and `prefetched_load`
show it.
"""

from typing import Dict, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.datasets import records
from velodrome.adapters.datasets.files import HeldDataset, release_dataset
from velodrome.adapters.models import products
from velodrome.adapters.proof import peak_rates, reference
from velodrome.adapters.proof.double_work import (
    MAX_SAMPLES,
    TIME_SHARE,
    compute_ratios,
    has_failed,
    judge_ratios,
)
from velodrome.adapters.proof.loaded_batches import (
    check_loaded,
    compare_gradients,
    differentiate_loaded,
    read_gradient,
)
from velodrome.adapters.proof.physical_limits import CONVOLUTION_MARGIN, LOW_SHARE, MARGIN
from velodrome.adapters.proof.relative_errors import compute_relative_error
from velodrome.adapters.proof.timed_phase import (
    TRIES,
    CallCost,
    CheckFinding,
    ProofContext,
    TimedPhase,
    is_interference_free,
    to_cost,
)
from velodrome.adapters.proof.unseen_inputs import UNSEEN_FACTOR, UNSEEN_NS
from velodrome.adapters.protocol import CANNOT_TELL, FAILED, IMPOSSIBLE, PASSED
from velodrome.adapters.worker.call_timing import MIN_SAMPLE_NS, take_retained_sample

COMPARED = 4  # batches in a row whose first examples must differ
LEAST_UNSEEN = 3  # batches of a first pass that are timed
MOST_UNSEEN_BYTES = 2**29  # decoded, of a data set that no call has read


def check_record_variety(proof: ProofContext) -> CheckFinding:
    """Check that batches in a row begin with different examples."""
    feed = proof.data
    firsts = [feed.draw_first(number).values for number in range(COMPARED)]
    figures = (
        ("batches", feed.count),
        ("stored_bytes", feed.timed.size_bytes),
        ("loaded_bytes", feed.count * feed.batch_bytes),
    )
    if any((firsts[place] == firsts[place + 1]).all() for place in range(COMPARED - 1)):
        return CheckFinding(FAILED, figures, "two batches in a row begin with the same example")
    return CheckFinding(PASSED, figures)


def check_loading_rates(proof: ProofContext, phase: TimedPhase) -> CheckFinding:
    """Compare with the device's peaks; without workers, with the process's processor time, too."""
    request, feed = proof.request, proof.data
    peak = peak_rates.find_peak(
        request.device,
        proof.adapter.device_name(),
        request.threads,
        request.dtype,
        request.all_devices,
    )
    per_s = 1e9 / phase.call_ns
    stored = feed.timed.file.record_bytes * request.batch_size
    figures: Tuple[Tuple[str, float], ...] = (
        ("examples_per_s", request.batch_size * per_s),
        ("bytes_per_s", feed.batch_bytes * per_s),
        ("stored_bytes_per_s", stored * per_s),
    )
    faults = []
    if peak and feed.batch_bytes * per_s > peak.bytes_per_s * MARGIN:
        faults.append("more bytes a second than the device's memory can take")
    if phase.name == "fed_gradient":
        flops_per_s = products.count_gradient_flops(proof.model, request.batch_size) * per_s
        figures += (("flops_per_s", flops_per_s),)
        if peak and flops_per_s > peak.flops_per_s * CONVOLUTION_MARGIN:
            faults.append("{:.3g} operations a second exceed the possible".format(flops_per_s))
    if faults:
        return CheckFinding(FAILED, figures, faults[0])
    if phase.name == "load" and proof.on_cpu:
        spent, timed_ns = phase.samples.process_times, float(sum(phase.samples.elapsed_ns))
        worked = (spent.processor_ns + spent.waited_ns) / timed_ns
        figures += (("processor_share", worked),)
        if worked < LOW_SHARE:
            reason = "the process worked for {:.0f} % of the timed wall time".format(100 * worked)
            return CheckFinding(CANNOT_TELL, figures, reason)
    if peak is None:
        reason = "the peak of {!r} is unknown".format(proof.adapter.device_name())
        return CheckFinding(CANNOT_TELL, figures, reason)
    return CheckFinding(PASSED, figures)


def check_double_loading(proof: ProofContext, phase: TimedPhase) -> CheckFinding:
    """Compare samples with others of twice as many calls.

    Before each, as many batches are taken as may be ready: what was read ahead in a pause between
    samples would else make the first calls too short.
    """
    count = phase.samples.timed.calls
    each_ns = max((3 * count + 2 * proof.data.ahead) * phase.call_ns, 1.0)
    allowed_ns = max(TIME_SHARE * sum(phase.samples.own_ns), 5 * MAX_SAMPLES * MIN_SAMPLE_NS)
    takes = int(min(MAX_SAMPLES, allowed_ns / each_ns))
    if not takes:
        reason = "{} calls take {:.2g} s: too long to repeat".format(count, each_ns / 1e9)
        return CheckFinding(CANNOT_TELL, (), reason)
    found = CheckFinding(CANNOT_TELL)
    is_free = False
    for _ in range(TRIES):
        doubles, singles = [], []
        for _ in range(takes):
            doubles.append(_take_steady(proof, phase, 2 * count))
            singles.append(_take_steady(proof, phase, count))
        found = judge_ratios(compute_ratios(proof, doubles, singles))
        if found.outcome == PASSED:
            return found
        times = [[cost.elapsed_ns for cost in side] for side in (doubles, singles)]
        is_free = takes > 1 and all(map(is_interference_free, times))
    return found._replace(outcome=FAILED) if is_free and has_failed(found) else found


def _take_steady(proof: ProofContext, phase: TimedPhase, count: int) -> CallCost:
    for _ in range(proof.data.ahead):
        phase.calls.call(0)
    return to_cost(take_retained_sample(phase.calls, (0,) * count))


def check_unseen_records(
    proof: ProofContext, phases: Sequence[TimedPhase]
) -> Dict[str, CheckFinding]:
    """Check data sets that no call has read, by phase. Dropout is off from here on.

    Their first pass must take as long for each batch as the passes that were timed, since no batch
    of it can have been kept; and the batches must be right.
    """
    if phases and proof.drops:
        proof.adapter.set_dropout(False)
    return {phase.name: _check_first_pass(proof, phase) for phase in phases}


def _check_first_pass(proof: ProofContext, phase: TimedPhase) -> CheckFinding:
    feed = proof.data
    ahead = 0 if phase.name == "load" else feed.ahead
    count = max(ahead, LEAST_UNSEEN)
    batches = 1 + ahead + count
    if batches * feed.batch_bytes > MOST_UNSEEN_BYTES:
        reason = "a first pass needs {} batches of {:.0f} MiB: too large to write"
        reason = reason.format(batches, feed.batch_bytes / 2.0**20)
        return CheckFinding(CANNOT_TELL, (), reason)
    figures: Tuple[Tuple[str, float], ...] = ()
    again_ns = 0.0
    for purpose in records.FRESH:
        held = feed.hold_fresh(purpose, batches)
        first_ns, again_ns, right = _time_passes(proof, phase, held, ahead, count)
        release_dataset(held)
        figures = (("first_ns", first_ns), ("again_ns", again_ns), ("steady_ns", phase.call_ns))
        if right.outcome != PASSED:
            return right._replace(figures=figures + right.figures)
        if not _is_late(first_ns, phase.call_ns):
            return CheckFinding(PASSED, figures + right.figures)
    text = "an unread batch took {:.3g} ms, a known one {:.3g} ms"
    reason = text.format(figures[0][1] / 1e6, phase.call_ns / 1e6)
    if _is_late(again_ns, phase.call_ns):
        return CheckFinding(CANNOT_TELL, figures, reason + ", and later ones no less")
    return CheckFinding(FAILED, figures, reason)


def _time_passes(
    proof: ProofContext, phase: TimedPhase, held: HeldDataset, ahead: int, count: int
) -> Tuple[float, float, CheckFinding]:
    """Return ns per call over the end of a first pass, and of the second, and check a batch.

    The first batches are not timed: they are read while the loader starts.
    """
    feed, indices = proof.data, (0,) * count
    feed.start(phase.name, held)
    for _ in range(1 + ahead):
        phase.calls.call(0)
    first = take_retained_sample(phase.calls, indices)
    if phase.name == "fed_gradient":
        found = read_gradient(proof, first.handle)
        expected = differentiate_loaded(proof, feed.draw(feed.last))
        right = compare_gradients(proof, found, expected)
    else:
        right = check_loaded(proof, first.handle)
    for _ in range(1 + ahead):
        phase.calls.call(0)
    again = take_retained_sample(phase.calls, indices)
    feed.stop()
    return first.elapsed_ns / float(count), again.elapsed_ns / float(count), right


def _is_late(call_ns: float, steady_ns: float) -> bool:
    return call_ns > UNSEEN_FACTOR * steady_ns + UNSEEN_NS


def check_fed_parameter(
    proof: ProofContext, phases: Sequence[TimedPhase]
) -> Dict[str, CheckFinding]:
    """Check that fed_gradient follows a parameter's new values; no other of them has parameters."""
    nothing = CheckFinding(IMPOSSIBLE, (), "no parameter takes part in reading a batch")
    found = {phase.name: nothing for phase in phases}
    for phase in phases:
        if phase.name == "fed_gradient":
            try:
                found[phase.name] = _check_two_values(proof, phase)
            except Unsupported as error:
                found[phase.name] = CheckFinding(IMPOSSIBLE, (), str(error))
    return found


def _check_two_values(proof: ProofContext, phase: TimedPhase) -> CheckFinding:
    """Compare the losses of two batches under other values of a parameter, one after the other."""
    changed = reference.choose_changed_parameter(proof.model, proof.request.seed)
    if changed is None:
        return CheckFinding(IMPOSSIBLE, (), "the model has no trained parameter")
    name, values = changed
    losses, worst = [], 0.0
    for own in (values, numpy.roll(values.reshape(-1), 1).reshape(values.shape)):
        proof.adapter.set_parameter(name, own)
        proof.data.start(phase.name)
        loss = proof.adapter.loss(phase.calls.call(0))
        expected = differentiate_loaded(proof, proof.data.draw(proof.data.last)).loss
        proof.data.stop()
        worst = max(worst, compute_relative_error(loss, expected))
        losses.append(expected)
    moved = compute_relative_error(losses[1], losses[0])
    figures = (("loss_error", worst), ("loss_moved", moved))
    if worst <= proof.reference.loss_tolerance:
        return CheckFinding(PASSED, figures)
    reason = "with other values of {}, the loss is off by {:.2g}".format(name, worst)
    return CheckFinding(FAILED, figures, reason)
