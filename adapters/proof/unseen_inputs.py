"""Checks with unseen batches and with changed parameters, after all timing."""

from typing import Dict, List, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Batch, Handle, Unsupported, map_arrays
from velodrome.adapters.models.layers import NoLoss
from velodrome.adapters.proof import reference, seeding
from velodrome.adapters.proof.agreement import ResultErrors
from velodrome.adapters.proof.optimizer_updates import check_one_step, check_one_update
from velodrome.adapters.proof.phase_modes import phase_mode
from velodrome.adapters.proof.relative_errors import compute_relative_error, measure_distance
from velodrome.adapters.proof.result_findings import check_agreement, check_output, check_values
from velodrome.adapters.proof.timed_phase import (
    TRIES,
    CallCost,
    CheckFinding,
    ProofContext,
    TimedPhase,
    is_interference_free,
    mean_processor_ns,
    to_cost,
)
from velodrome.adapters.protocol import CANNOT_TELL, FAILED, IMPOSSIBLE, PASSED, TRAINING_PHASES
from velodrome.adapters.worker.call_timing import take_retained_sample

# A first call on an unseen batch may take this factor of a steady call, plus this time for first
# access to memory.
UNSEEN_FACTOR, UNSEEN_NS = 2.0, 500000
ROUNDS = 4  # of other batches, before a phase is late
WARM_UPS = 2  # samples of batches that were timed, before a first call of a round


def check_unseen_inputs(
    proof: ProofContext, phases: Sequence[TimedPhase]
) -> Dict[str, CheckFinding]:
    """Check unseen batches, by phase. Dropout is off from here on, to compare with the reference.

    The first call on a batch must take as long as later calls on others, since no result of it can
    be kept yet; and its result must be right.
    """
    adapter, request = proof.adapter, proof.request
    fresh = seeding.draw_fresh_batches(
        proof.model, request.batch_size, request.seed, proof.reference.draws
    )
    steady = {phase.name: _measure_steady(proof, phase) for phase in phases}
    adapter.load(fresh)
    late, right = {}, {}
    for phase in phases:
        with phase_mode(proof, phase.name, -1):
            sample = take_retained_sample(phase.calls, proof.places)
            late[phase.name] = _judge_lateness(proof, to_cost(sample), steady[phase.name])
            # At once: the next call may overwrite its result.
            if not proof.drops and phase.name not in TRAINING_PHASES:
                right[phase.name] = _check_fresh_result(proof, phase, fresh, sample.handle)
    _retry_late(proof, phases, fresh, late)
    if proof.drops:
        adapter.set_dropout(False)
    for phase in phases:
        if phase.name == "update":
            right[phase.name] = check_one_update(proof, phase.calls.call, -1)
        elif phase.name == "step":
            place, expected = len(proof.places) - 1, proof.reference.fresh
            right[phase.name] = check_one_step(proof, phase.calls.call, place, expected)
        elif phase.name not in right:
            with phase_mode(proof, phase.name):
                handle = phase.calls.call(proof.places[-1])
                right[phase.name] = _check_fresh_result(proof, phase, fresh, handle)
    return {phase.name: _merge(late[phase.name], right[phase.name]) for phase in phases}


def _measure_steady(proof: ProofContext, phase: TimedPhase) -> CallCost:
    """Return the cost of one call on each batch that a fresh one replaces."""
    count = len(proof.places)
    if phase.calls.unit:
        share = float(count) / phase.samples.timed.calls
        return CallCost(count * phase.call_ns, share * mean_processor_ns(phase))
    with phase_mode(proof, phase.name):
        costs = [to_cost(take_retained_sample(phase.calls, proof.places)) for _ in range(TRIES)]
    return CallCost(*[min(column) for column in zip(*costs)])


def _retry_late(
    proof: ProofContext,
    phases: Sequence[TimedPhase],
    fresh: Tuple[Batch, ...],
    late: Dict[str, CheckFinding],
) -> None:
    """Repeat late phases, which interference may have delayed, and update `late`.

    In each round a first call stands beside later ones, on it and on a batch that was timed, so
    that all see the same machine. A phase is late only if all rounds are, without interference.
    """
    slow = [phase for phase in phases if late[phase.name].outcome != PASSED]
    if not slow:
        return
    rounds: Dict[str, List[Tuple[CallCost, CallCost]]] = {phase.name: [] for phase in slow}
    for number in range(1, ROUNDS + 1):
        unseen = tuple(_roll(batch, number) for batch in fresh)
        for phase in slow:
            proof.adapter.load(proof.batches)
            timed = _measure_later(proof, phase)
            first, again = _measure_first(proof, phase, unseen)
            least = CallCost(*[min(pair) for pair in zip(again, timed)])
            rounds[phase.name].append((first, least))
    proof.adapter.load(fresh)
    for phase in slow:
        late[phase.name] = _judge_rounds(proof, rounds[phase.name])


def _measure_first(
    proof: ProofContext, phase: TimedPhase, unseen: Tuple[Batch, ...]
) -> Tuple[CallCost, CallCost]:
    """Return the costs of first and second calls on unseen batches, added up over the places.

    Each follows calls on the batches that were timed, as a load leaves little of the network in
    the processor's caches: a forward pass of 0.8 ms took 3 ms after a load of 160 MB. A single
    place has nothing to follow.
    """
    costs = []
    for number, place in enumerate(proof.places):
        mixed = list(proof.batches)
        mixed[place] = unseen[place]
        proof.adapter.load(tuple(mixed))
        others = [other for other in proof.places if other != place]
        with phase_mode(proof, phase.name, number):
            for _ in range(WARM_UPS if others else 0):
                take_retained_sample(phase.calls, others)
            costs.append([to_cost(take_retained_sample(phase.calls, [place])) for _ in range(2)])
    first, again = [CallCost(*[sum(column) for column in zip(*calls)]) for calls in zip(*costs)]
    return first, again


def _measure_later(proof: ProofContext, phase: TimedPhase) -> CallCost:
    """Return the cost of a second call on each batch: a first one may fill a cache again."""
    with phase_mode(proof, phase.name):
        take_retained_sample(phase.calls, proof.places)
        return to_cost(take_retained_sample(phase.calls, proof.places))


def _judge_rounds(proof: ProofContext, rounds: Sequence[Tuple[CallCost, CallCost]]) -> CheckFinding:
    found = [_judge_lateness(proof, first, least) for first, least in rounds]
    passed = [finding for finding in found if finding.outcome == PASSED]
    if passed:
        return passed[0]
    free = all(is_interference_free([pair[side].elapsed_ns for pair in rounds]) for side in (0, 1))
    return found[0] if free else found[0]._replace(outcome=CANNOT_TELL)


def _merge(late: CheckFinding, right: CheckFinding) -> CheckFinding:
    outcome = right.outcome if right.outcome != PASSED else late.outcome
    reason = "; ".join(filter(None, (right.reason, late.reason)))
    return CheckFinding(outcome, late.figures + right.figures, reason)


def _roll(batch: Batch, rows: int) -> Batch:
    """Return the same examples, each in another row."""
    return map_arrays(lambda array: numpy.roll(array, rows, axis=0), batch)


def _judge_lateness(proof: ProofContext, first: CallCost, steady: CallCost) -> CheckFinding:
    """Judge a first call: late if both clock and, on the CPU, processor time are."""
    calls = float(len(proof.places))
    figures = (
        ("first_ns", first.elapsed_ns / calls),
        ("steady_ns", steady.elapsed_ns / calls),
        ("first_processor_ns", first.processor_ns / calls),
        ("steady_processor_ns", steady.processor_ns / calls),
    )
    pairs = zip(first, steady) if proof.on_cpu else [(first.elapsed_ns, steady.elapsed_ns)]
    if any(new <= UNSEEN_FACTOR * usual + UNSEEN_NS for new, usual in pairs):
        return CheckFinding(PASSED, figures)
    text = "an unseen batch took {:.3g} ms, a known one {:.3g} ms"
    reason = text.format(figures[0][1] / 1e6, figures[1][1] / 1e6)
    return CheckFinding(FAILED, figures, reason)


def _check_fresh_result(
    proof: ProofContext, phase: TimedPhase, fresh: Tuple[Batch, ...], handle: Handle
) -> CheckFinding:
    """Check a call on the last of the checked places."""
    place = len(proof.places) - 1
    if isinstance(proof.model.loss, NoLoss):
        return check_values(proof, fresh[proof.places[place]], handle)
    if phase.name == "inference":
        return check_output(proof, proof.reference.evaluation.fresh[place], handle)
    return check_agreement(proof, phase.name, proof.reference.fresh, place, handle)


def check_changed_parameter(
    proof: ProofContext, phases: Sequence[TimedPhase]
) -> Dict[str, CheckFinding]:
    """Check by phase that a fresh batch's loss follows a parameter's new values."""
    changed = reference.choose_changed_parameter(
        proof.model, proof.request.seed, proof.reference.shapes
    )
    if changed is None or isinstance(proof.model.loss, NoLoss):
        impossible = CheckFinding(IMPOSSIBLE, (), "the model has no trained parameter")
        return {phase.name: impossible for phase in phases}
    name, values = changed
    found = {}
    for phase in phases:
        try:
            with phase_mode(proof, phase.name):
                proof.adapter.set_parameter(name, values)
                found[phase.name] = _check_change(proof, phase, name, values)
        except Unsupported as error:
            found[phase.name] = CheckFinding(IMPOSSIBLE, (), str(error))
    return found


def _check_change(
    proof: ProofContext, phase: TimedPhase, name: str, values: numpy.ndarray
) -> CheckFinding:
    """Check a call after parameter `name` got other values."""
    handle = phase.calls.call(proof.places[0])
    if phase.name == "update":
        return _check_update_change(proof, name, values)
    if phase.name == "inference":
        found = check_output(proof, proof.reference.evaluation.changed, handle)
        return found._replace(
            reason=found.reason and "with other values of {}, {}".format(name, found.reason)
        )
    return _check_loss_change(proof, proof.adapter.loss(handle), name)


def _check_update_change(proof: ProofContext, name: str, values: numpy.ndarray) -> CheckFinding:
    """Check that an update began with the new values: it moves them by little."""
    found = dict(proof.adapter.parameters())[name]
    error = measure_distance(found, values)
    moved = measure_distance(proof.weights[name], values)
    figures = (("distance_to_new", error), ("distance_of_old", moved))
    if error < 0.5 * moved:
        return CheckFinding(PASSED, figures)
    reason = "an update did not begin with the new values of {}".format(name)
    return CheckFinding(FAILED, figures, reason)


def _check_loss_change(proof: ProofContext, loss: float, name: str) -> CheckFinding:
    before, after = proof.reference.fresh.losses[0], proof.reference.changed.loss
    error = compute_relative_error(loss, after)
    figures = (
        ("loss_error", error),
        ("loss_moved", compute_relative_error(before, after)),
    )
    faults = ResultErrors(error).list_faults(proof.reference)
    if not faults:
        return CheckFinding(PASSED, figures)
    reason = "with other values of {}, the {}".format(name, faults[0])
    return CheckFinding(FAILED, figures, reason)
