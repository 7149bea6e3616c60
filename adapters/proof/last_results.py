"""Check that results are ready when the clock stops, and correct, by calls like the timed ones."""

import time
from typing import Dict, Iterator, List, NamedTuple, Tuple

import numpy

from velodrome.adapters.contract import Adapter, Handle
from velodrome.adapters.groups.leader import GroupAdapter
from velodrome.adapters.models.layers import NoLoss
from velodrome.adapters.proof import agreement, dropout_gradients, seeding
from velodrome.adapters.proof.agreement import ResultErrors
from velodrome.adapters.proof.loaded_batches import check_fed_gradient, check_loaded
from velodrome.adapters.proof.optimizer_updates import check_updates
from velodrome.adapters.proof.relative_errors import compute_relative_error
from velodrome.adapters.proof.result_findings import (
    check_agreement,
    check_output,
    check_values,
    judge_errors,
)
from velodrome.adapters.proof.timed_phase import (
    CallCost,
    CheckFinding,
    ProofContext,
    TimedPhase,
    choose_batches,
    merge_findings,
)
from velodrome.adapters.protocol import (
    CANNOT_TELL,
    FAILED,
    LOADING_PHASES,
    PASSED,
    TRAINING_PHASES,
    monotonic_ns,
)
from velodrome.adapters.worker.call_timing import RetainedSample, take_retained_sample
from velodrome.adapters.worker.process_times import (
    estimate_interference_ns,
    estimate_page_fault_ns,
    measure_first_touch_ns,
    read_page_faults,
    read_process_times,
)

MAX_TRIES = 9  # to find the device done
MASKS = 8  # calls whose gradients are compared with the reference's statistics
LONG_CALL_NS = 20000000  # longer calls are repeated as little as possible
UNDRAINED_SHARE, UNDRAINED_NS = 0.1, 500000  # of a call: the allowed excess of a first reading
# Of a second reading: another allowance. Reading parameters takes a framework several operations.
READING_SHARE, PARAMETERS_SHARE = 0.25, 0.5
FIRST_TOUCH_NS_PER_BYTE = 0.2  # plus this, or what it takes now, for first access to host memory
# Others that use this share of a reading's time also slow it by caches and page faults. Then it
# proves a failure only if it is late by the second share of a call, and by more than they took, of
# which no more counts than a whole call, or this for a short one.
BUSY_SHARE, BUSY_UNDRAINED_SHARE, BUSY_NS = 0.1, 0.5, 2000000
READ_BYTES = 2**24  # of gradients, read to see that a device is done


class ResultReading(NamedTuple):
    """The cost of reading a result to the host.

    taken_ns: used by others while threads of this process waited. page_fault_ns: processor time of
    the kernel, to give and clear memory: no work of a device, and the more the newer the memory is.
    """

    cost: CallCost
    read_bytes: int
    taken_ns: float = 0.0
    page_fault_ns: float = 0.0

    @property
    def clocks(self) -> Tuple[float, float]:
        """Return elapsed time, and processor time without page faults."""
        return self.cost.elapsed_ns, self.cost.processor_ns - self.page_fault_ns


def check_last_results(proof: ProofContext, phase: TimedPhase) -> Tuple[CheckFinding, CheckFinding]:
    """Return (drained, timed_is_checked), from samples just like the timed ones.

    Each sample has an odd number of calls and another last batch than the one before, to detect an
    adapter that computes every second time. While readings are late there are more of them, of
    which a third must be drained: caches that others use delay most of them by a little, and a
    late result may once or twice be ready by chance.
    """
    share = PARAMETERS_SHARE if phase.name in TRAINING_PHASES else READING_SHARE
    places = [-1, 0] if phase.call_ns > LONG_CALL_NS else [-1, 0, -1]
    tries, found = [], []
    while places:
        place = places.pop()
        few = choose_batches(proof, phase, place)
        indices = few[1 - len(few) % 2 :]
        sample = take_retained_sample(phase.calls, indices)
        first, again = (_time_reading(proof, phase.name, sample.handle) for _ in range(2))
        call = _cost_per_call(phase, sample, len(indices))
        shortest_ns = min(call) if proof.on_cpu else call.elapsed_ns
        tries.append((_measure_excess(proof, first, again, call, share), first, shortest_ns))
        found.append(_check_result(proof, phase, place, sample.handle))
        is_drained = _judge_drained(*sorted(tries)[(len(tries) + 1) // 3])
        if not places and is_drained.outcome != PASSED and len(tries) < MAX_TRIES:
            places = [place, -1 - place]
    if phase.name in TRAINING_PHASES:
        return is_drained, check_training(proof, phase)
    if phase.name == "fed_gradient":
        return is_drained, check_fed_gradient(proof, phase.calls.call)
    drops = proof.drops and phase.name not in ("inference", *LOADING_PHASES)
    if drops and not isinstance(proof.model.loss, NoLoss):
        return is_drained, _check_dropout_results(proof, phase)
    return is_drained, merge_findings(found + _check_other_batches(proof, phase))


def check_training(proof: ProofContext, phase: TimedPhase) -> CheckFinding:
    """Check parameters after two steps by the phase's own call, dropout off."""
    if proof.drops:
        proof.adapter.set_dropout(False)
    found = check_updates(proof, phase.name, phase.calls.call)
    if proof.drops:
        proof.adapter.set_dropout(True)
    return found


def _judge_drained(beyond: float, first: ResultReading, call_ns: float) -> CheckFinding:
    """Judge one try. A slightly late result is no failure if others took the processors."""
    elapsed_ns, processor_ns = first.cost
    figures = (
        ("first_reading_ns", elapsed_ns),
        ("first_reading_processor_ns", processor_ns),
        ("beyond_ns", beyond),
        ("taken_by_others_ns", first.taken_ns),
    )
    if beyond <= 0:
        return CheckFinding(PASSED, figures)
    reason = "reading the result took {:.0f} us, {:.0f} us more than allowed"
    reason = reason.format(elapsed_ns / 1e3, beyond / 1e3)
    is_busy = first.taken_ns > BUSY_SHARE * elapsed_ns
    taken_ns = min(first.taken_ns, max(call_ns, BUSY_NS))
    if is_busy and beyond < max(BUSY_UNDRAINED_SHARE * call_ns, taken_ns):
        return CheckFinding(CANNOT_TELL, figures, reason + ", while others used its processors")
    return CheckFinding(FAILED, figures, "the device was not done: " + reason)


def _check_result(
    proof: ProofContext, phase: TimedPhase, place: int, handle: Handle
) -> CheckFinding:
    """Check a result of the checked batch at `place`; always passed while dropout is active.

    Of a phase that changes parameters, and of fed_gradient, too: their checks begin anew.
    """
    if phase.name in TRAINING_PHASES or phase.name == "fed_gradient":
        return CheckFinding(PASSED)
    if phase.name in LOADING_PHASES:
        return check_loaded(proof, handle)
    if phase.name == "inference":
        return check_output(proof, proof.reference.evaluation.outputs[place], handle)
    if isinstance(proof.model.loss, NoLoss):
        return check_values(proof, proof.batches[proof.places[place]], handle)
    if proof.drops:
        return CheckFinding(PASSED)
    return check_agreement(proof, phase.name, proof.expected, place, handle)


def _cost_per_call(phase: TimedPhase, sample: RetainedSample, calls: int) -> CallCost:
    return CallCost(
        min(phase.call_ns, sample.elapsed_ns / float(calls)), sample.processor_ns / float(calls)
    )


def _measure_excess(
    proof: ProofContext,
    first: ResultReading,
    again: ResultReading,
    call: CallCost,
    repeated: float = READING_SHARE,
) -> float:
    """Return by how many ns a first reading exceeds a second one and its allowance.

    On the CPU, by the smaller of both clocks, so that neither an interruption nor page faults make
    a reading late.
    """
    clocks = [
        first_ns - again_ns - max(UNDRAINED_NS, UNDRAINED_SHARE * call_ns, repeated * again_ns)
        for first_ns, again_ns, call_ns in zip(first.clocks, again.clocks, call)
    ]
    excess = min(clocks) if proof.on_cpu else clocks[0]
    least = excess - FIRST_TOUCH_NS_PER_BYTE * first.read_bytes
    if least <= 0:
        return least
    return min(least, excess - measure_first_touch_ns(first.read_bytes))


def _time_reading(proof: ProofContext, phase: str, handle: Handle) -> ResultReading:
    """Time a reading, from the call's return to values on the host."""
    before, faults = read_process_times(), read_page_faults()
    before_s, began_ns = time.process_time(), monotonic_ns()
    count = _read_result(proof, phase, handle)
    elapsed_ns = monotonic_ns() - began_ns
    processor_ns = (time.process_time() - before_s) * 1e9
    fault_ns = min(processor_ns, estimate_page_fault_ns(faults, read_page_faults()))
    taken_ns = estimate_interference_ns(read_process_times().since(before))
    return ResultReading(CallCost(elapsed_ns, processor_ns), count, taken_ns, fault_ns)


def _read_result(proof: ProofContext, phase: str, handle: Handle) -> int:
    """Read a result and return the bytes that were read, but for a loss.

    Of a group, the leader's own: the words with its followers would take longer than a short
    reading, and its gradients are no earlier there than all of theirs.
    """
    adapter, count = proof.adapter, 0
    if isinstance(adapter, GroupAdapter):
        adapter, handle = adapter.own, handle.own
    if isinstance(proof.model.loss, NoLoss):
        return int(adapter.output(handle).nbytes)
    if phase == "inference":
        return int(adapter.output(handle).nbytes)
    if phase in LOADING_PHASES and phase != "fed_gradient":
        return int(adapter.loaded(handle).inputs.nbytes)
    if phase != "update":
        adapter.loss(handle)
    for _, gradient in _iterate_results(adapter, phase, handle):
        count += gradient.nbytes
        if count >= READ_BYTES:
            break
    return count


def _iterate_results(
    adapter: Adapter, phase: str, handle: Handle
) -> Iterator[Tuple[str, numpy.ndarray]]:
    """Return what a phase leaves on this process's devices: gradients, or changed parameters."""
    if phase in ("gradient", "fed_gradient"):
        return adapter.own_gradients(handle)
    return adapter.own_parameters() if phase in TRAINING_PHASES else iter(())


def _check_other_batches(proof: ProofContext, phase: TimedPhase) -> List[CheckFinding]:
    """Check the losses of a few batches, drawn by the seed, whose gradients are unknown."""
    if phase.name not in ("forward", "gradient"):
        return []
    losses = proof.reference.losses
    between = [number for number in range(len(losses)) if number not in proof.places]
    if not between:
        return []
    draw = seeding.make_stream(proof.request.seed, "between", phase.name)
    found = []
    for number in draw.choice(between, size=min(5, len(between)), replace=False):
        loss = proof.adapter.loss(phase.calls.call(int(number)))
        errors = ResultErrors(compute_relative_error(loss, losses[number]))
        found.append(judge_errors(errors, proof, phase.name))
    return found


def _check_dropout_results(proof: ProofContext, phase: TimedPhase) -> CheckFinding:
    """Compare results under the framework's own masks with the reference's statistics."""
    profile, adapter = proof.reference.dropout, proof.adapter
    if profile is None:
        return CheckFinding(CANNOT_TELL, (), "no parameter is behind the dropout")
    indices = choose_batches(proof, phase)
    calls: List[dropout_gradients.GradientSummary] = []
    faults: List[str] = []
    for _ in range(2 if phase.call_ns > LONG_CALL_NS else MASKS):
        handle = take_retained_sample(phase.calls, indices).handle
        if phase.name == "forward":
            calls.append(dropout_gradients.GradientSummary(adapter.loss(handle), {}, {}, {}))
            continue
        calls.append(
            dropout_gradients.summarize_gradients(*_read_dropout_gradient(proof, handle, faults))
        )
    if phase.name == "forward":
        profile = profile._replace(norms={}, zeros={}, apart={})
    faults += dropout_gradients.find_faults(profile, calls)
    if calls[0].loss == calls[1].loss:
        faults.append("two calls with dropout active gave the same loss {!r}".format(calls[0].loss))
    figures = (("loss", calls[0].loss), ("masks_known", float(dropout_gradients.MASKS)))
    return CheckFinding(FAILED if faults else PASSED, figures, "; ".join(faults[:3]))


def _read_dropout_gradient(
    proof: ProofContext, handle: Handle, faults: List[str]
) -> Tuple[float, Dict[str, numpy.ndarray]]:
    """Return (loss, gradients behind the dropout); check that those before it are not zero."""
    names, own = dropout_gradients.list_parameters_behind(proof.model), {}
    loss = proof.adapter.loss(handle)
    for name, gradient in agreement.iterate_gradients(proof.reference, proof.adapter, handle):
        if name in names:
            own[name] = numpy.array(gradient)  # the next call may overwrite it
        elif not numpy.isfinite(gradient).all() or not gradient.any():
            faults.append("the gradient of {} is zero, or not finite".format(name))
    return loss, own
