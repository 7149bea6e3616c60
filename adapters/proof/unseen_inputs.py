"""What batches that no call has seen, and other values of a parameter, make of what was timed."""

from typing import Dict, List, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Batch, Handle, Unsupported
from velodrome.adapters.models.layers import NoLoss
from velodrome.adapters.proof import agreement, reference, seeding
from velodrome.adapters.proof.agreement import Errors
from velodrome.adapters.proof.result_findings import agreement_finding, copy_finding
from velodrome.adapters.proof.timed_phase import (
    TRIES,
    Cost,
    Finding,
    Phase,
    Proof,
    cost_of,
    is_calm,
    processor_ns,
)
from velodrome.adapters.protocol import CANNOT_TELL, FAILED, IMPOSSIBLE, PASSED
from velodrome.adapters.worker.call_timing import take_retained_sample

# Of one call on a batch never seen, at the most: so many times the steady one, and so much more for
# memory that is touched for the first time.
UNSEEN_FACTOR, UNSEEN_NS = 2.0, 500000
ROUNDS = 4  # of other batches, before it is called late


def not_seen_before(proof: Proof, phases: Sequence[Phase]) -> Dict[str, Finding]:
    """By phase. Dropout is off from here on, so that results can be held against the reference.

    What is asked first of a batch must take as long as what was asked a thousand times: whoever
    keeps results has none of this one. And it must be right.
    """
    adapter, request = proof.adapter, proof.request
    fresh = seeding.fresh(proof.model, request.batch_size, request.seed, proof.reference.draws)
    steady = {phase.name: _steady(proof, phase) for phase in phases}
    adapter.load(fresh)
    late, right = {}, {}
    for phase in phases:
        kept = take_retained_sample(phase.calls, proof.places)
        late[phase.name] = _lateness(proof, cost_of(kept), steady[phase.name])
        if not proof.drops:  # at once: the next call may write where its result lies
            right[phase.name] = _fresh_finding(proof, phase, fresh, kept.handle)
    _look_again(proof, phases, fresh, late)
    if proof.drops:
        adapter.set_dropout(False)
        for phase in phases:
            handle = phase.calls.call(proof.places[-1])
            right[phase.name] = _fresh_finding(proof, phase, fresh, handle)
    return {phase.name: _both(late[phase.name], right[phase.name]) for phase in phases}


def _steady(proof: Proof, phase: Phase) -> Cost:
    """Of one call on each of the batches that fresh ones stand in for."""
    count = len(proof.places)
    if phase.calls.unit:
        share = float(count) / phase.taken.timed.calls
        return Cost(count * phase.call_ns, share * processor_ns(phase))
    costs = [cost_of(take_retained_sample(phase.calls, proof.places)) for _ in range(TRIES)]
    return Cost(*[min(column) for column in zip(*costs)])


def _look_again(
    proof: Proof, phases: Sequence[Phase], fresh: Tuple[Batch, ...], late: Dict[str, Finding]
) -> None:
    """What was late may have been disturbed: `late` is renewed, by rounds of other batches.

    In each round a first call stands beside later ones, on it and on a batch that was timed, so
    that all see the same machine. Late are only all rounds together, on a machine that was calm.
    """
    slow = [phase for phase in phases if late[phase.name].outcome != PASSED]
    if not slow:
        return
    rounds: Dict[str, List[Tuple[Cost, Cost]]] = {phase.name: [] for phase in slow}
    for number in range(1, ROUNDS + 1):
        proof.adapter.load(proof.batches)
        timed = {phase.name: _later(proof, phase) for phase in slow}
        proof.adapter.load(tuple(_rolled(batch, number) for batch in fresh))
        for phase in slow:
            first = cost_of(take_retained_sample(phase.calls, proof.places))
            again = cost_of(take_retained_sample(phase.calls, proof.places))
            least = Cost(*[min(pair) for pair in zip(again, timed[phase.name])])
            rounds[phase.name].append((first, least))
    proof.adapter.load(fresh)
    for phase in slow:
        late[phase.name] = _of_rounds(proof, rounds[phase.name])


def _later(proof: Proof, phase: Phase) -> Cost:
    """Of a second call on each batch, since some keep a result only until batches are loaded."""
    take_retained_sample(phase.calls, proof.places)
    return cost_of(take_retained_sample(phase.calls, proof.places))


def _of_rounds(proof: Proof, rounds: Sequence[Tuple[Cost, Cost]]) -> Finding:
    found = [_lateness(proof, first, least) for first, least in rounds]
    punctual = [one for one in found if one.outcome == PASSED]
    if punctual:
        return punctual[0]
    calm = all(is_calm([pair[side].elapsed_ns for pair in rounds]) for side in (0, 1))
    return found[0] if calm else found[0]._replace(outcome=CANNOT_TELL)


def _both(late: Finding, right: Finding) -> Finding:
    outcome = right.outcome if right.outcome != PASSED else late.outcome
    reason = "; ".join(filter(None, (right.reason, late.reason)))
    return Finding(outcome, late.figures + right.figures, reason)


def _rolled(batch: Batch, rows: int) -> Batch:
    """The same examples, each in another row."""
    return Batch(*[None if array is None else numpy.roll(array, rows, axis=0) for array in batch])


def _lateness(proof: Proof, first: Cost, steady: Cost) -> Finding:
    """Late are both the clock and, on the CPU, the processor time, which others cannot lengthen."""
    calls = float(len(proof.places))
    figures = (
        ("first_ns", first.elapsed_ns / calls),
        ("steady_ns", steady.elapsed_ns / calls),
        ("first_processor_ns", first.processor_ns / calls),
        ("steady_processor_ns", steady.processor_ns / calls),
    )
    pairs = zip(first, steady) if proof.on_cpu else [(first.elapsed_ns, steady.elapsed_ns)]
    if any(own <= UNSEEN_FACTOR * known + UNSEEN_NS for own, known in pairs):
        return Finding(PASSED, figures)
    told = "a batch not seen before took {:.3g} ms, one seen before {:.3g} ms"
    reason = told.format(figures[0][1] / 1e6, figures[1][1] / 1e6)
    return Finding(FAILED, figures, reason)


def _fresh_finding(proof: Proof, phase: Phase, fresh: Tuple[Batch, ...], handle: Handle) -> Finding:
    """Of a call on the last of the checked places."""
    place = len(proof.places) - 1
    if isinstance(proof.model.loss, NoLoss):
        return copy_finding(proof, fresh[proof.places[place]], handle)
    return agreement_finding(proof, phase.name, proof.reference.fresh, place, handle)


def follows_parameters(proof: Proof, phases: Sequence[Phase]) -> Dict[str, Finding]:
    """By phase: whether the loss of a fresh batch is that of a parameter's new values."""
    known = reference.changed(proof.model, proof.request.seed)
    if known is None or isinstance(proof.model.loss, NoLoss):
        nothing = Finding(IMPOSSIBLE, (), "the model has no trained parameter")
        return {phase.name: nothing for phase in phases}
    name, values = known
    try:
        proof.adapter.set_parameter(name, values)
    except Unsupported as error:
        return {phase.name: Finding(IMPOSSIBLE, (), str(error)) for phase in phases}
    return {phase.name: _following(proof, phase, name) for phase in phases}


def _following(proof: Proof, phase: Phase, name: str) -> Finding:
    before, after = proof.reference.fresh.losses[0], proof.reference.changed.loss
    loss = proof.adapter.loss(phase.calls.call(proof.places[0]))
    error = agreement.relative(loss, after)
    figures = (("loss_error", error), ("loss_moved", agreement.relative(before, after)))
    faults = Errors(error).faults(proof.request.dtype)
    if not faults:
        return Finding(PASSED, figures)
    reason = "with other values of {}, the {}".format(name, faults[0])
    return Finding(FAILED, figures, reason)
