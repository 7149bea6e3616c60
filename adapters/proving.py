"""That what was timed did the work: checks of each timed phase, outside of every sample.

A result that agrees proves that a framework can compute a model, not that the calls that were timed
did so. Results that are kept, folded to constants or hoisted out of a loop, work that a clock did
not wait for, and a clock that tells what it likes all give a time that nobody earned. Each check
stands for one way of that; what it goes by is told in its figures (velodrome.adapters.protocol).

    different_values    no two batches in a row hold the same values
    clocked_by_two      the adapter's stopwatch agrees with the worker's clock around it
    possible            no device computes, or copies, that fast; and the kernel saw it work
    drained             reading the last result at once takes no longer than reading it again
    timed_is_checked    a call made just like those that count returns what the reference says
    twice_the_work      twice as many calls take twice as long
    not_seen_before     batches that the process has never seen take as long, and agree
    follows_parameters  once a parameter has other values, the loss is that of those

Noise makes a check say that it cannot tell, never that it failed: what must be quick is tried three
times, and the quickest counts.
"""

import statistics
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy

from velodrome.adapters import agreement, caches, dropping, peaks, reference, seeding
from velodrome.adapters.agreement import Disagreed, Errors
from velodrome.adapters.contract import Adapter, Batch, Handle, Unsupported
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import products
from velodrome.adapters.models.layers import Model, NoLoss
from velodrome.adapters.protocol import (
    CANNOT_TELL,
    FAILED,
    IMPOSSIBLE,
    PASSED,
    Checked,
    Figure,
    Request,
    monotonic_ns,
)
from velodrome.adapters.reference import Expected, Reference
from velodrome.adapters.timing import (
    MIN_SAMPLE_NS,
    Calls,
    Kept,
    Taken,
    collector_off,
    take_kept,
)

TRIES = 3
LONG_CALL_NS = 20000000  # of which as few as possible are made
MOST_CALLS = 256  # in one sample of a check

# Of a sample, by which the stopwatch may be short of the worker's clock around it: waking up behind
# a device's events, and a launch. By how much it may be above it: the grain of a device's clock.
SHORT_SHARE, SHORT_NS = 0.2, 200000
ABOVE_SHARE, ABOVE_NS = 0.02, 2000

UNDRAINED_SHARE, UNDRAINED_NS = 0.1, 500000  # of a call, what a first reading may take more
READ_BYTES = 2**24  # of gradients: what is read to see whether a device was done

# Of one call on a batch never seen, at the most: so many times the steady one, and so much more for
# memory that is touched for the first time.
UNSEEN_FACTOR, UNSEEN_NS = 2.0, 500000

TWICE = (1.9, 2.1)  # what twice the work takes, over once
TWICE_NEVER = 1.5  # below: what no noise makes of the median and the quickest, three times
TWICE_TAKES = 5
TWICE_SHARE = 0.05  # of the phase's own time, that this check may take

# Convolutions take up to 4 times fewer operations than counted (Lavin & Gray, Fast Algorithms for
# Convolutional Neural Networks, CVPR 2016: F(4x4, 3x3)).
CONVOLUTION_MARGIN, MARGIN = 4.0, 1.1
WORKED, WORKED_NEVER = 0.5, 0.1  # of the timed wall time, that the kernel saw the process work


class Proof(NamedTuple):
    """What all checks of one request know. expected: of the batches that are checked, by place."""

    adapter: Adapter
    model: Model
    reference: Reference
    request: Request
    batches: Tuple[Batch, ...]

    @property
    def places(self) -> Tuple[int, ...]:
        return self.reference.checked

    @property
    def expected(self) -> Expected:
        known = self.reference
        losses = tuple(known.losses[number] for number in known.checked) if known.losses else ()
        return Expected(losses, known.norms, known.sketches)

    @property
    def on_cpu(self) -> bool:
        return self.request.device == "cpu"

    @property
    def drops(self) -> bool:
        return dropping.has_dropout(self.model)


class Phase(NamedTuple):
    """A phase that was timed. call_ns: the median of one call."""

    name: str
    calls: Calls
    taken: Taken

    @property
    def call_ns(self) -> float:
        return self.taken.timed.median_ns


class Cost(NamedTuple):
    """Of some calls, ns: by the clock, and of the processor."""

    elapsed_ns: float
    processor_ns: float


class Finding(NamedTuple):
    """What a check found: its outcome, figures as (name, value), and why it did not pass."""

    outcome: str
    figures: Tuple[Tuple[str, float], ...] = ()
    reason: str = ""


Send = Callable[[Any], None]


def check_phase(proof: Proof, phase: Phase, send: Send) -> None:
    """What can be told right after it was timed. Disagreed, once all are sent, if one failed."""
    with collector_off():
        is_drained, is_checked = last_results(proof, phase)
        found = (
            ("different_values", different_values(proof)),
            ("clocked_by_two", clocked_by_two(phase.taken)),
            ("possible", possible(proof, phase)),
            ("drained", is_drained),
            ("timed_is_checked", is_checked),
            ("twice_the_work", twice_the_work(proof, phase)),
        )
    _tell(phase.name, found, send)


def check_all(proof: Proof, phases: Sequence[Phase], send: Send) -> None:
    """What changes batches and parameters, once all is timed. Disagreed if one failed."""
    with collector_off():
        unseen = not_seen_before(proof, phases)
        following = follows_parameters(proof, phases)
    for phase in phases:
        found = (
            ("not_seen_before", unseen[phase.name]),
            ("follows_parameters", following[phase.name]),
        )
        _tell(phase.name, found, send)


def _tell(phase: str, found: Sequence[Tuple[str, Finding]], send: Send) -> None:
    for name, one in found:
        figures = tuple(Figure(what, float(value)) for what, value in one.figures)
        send(Checked(name, phase, one.outcome, figures, one.reason, monotonic_ns()))
    for name, one in found:
        if one.outcome == FAILED:
            raise Disagreed("{} of {} failed: {}".format(name, phase, one.reason))


def different_values(proof: Proof) -> Finding:
    """Of the batches as they were handed over; that a framework uses them, others check."""
    own = [batch.inputs for batch in proof.batches]
    total, cache = sum(array.nbytes for array in own), caches.largest_bytes()
    figures = (("batches", len(own)), ("input_bytes", total), ("cache_bytes", cache))
    if any(_is_same(left, right) for left, right in zip(own, own[1:] + own[:1])):
        return Finding(FAILED, figures, "two batches in a row hold the same values")
    if isinstance(proof.model.loss, NoLoss) and 0 < total < 2 * cache:
        reason = "{:.0f} MiB of input fit a cache of {:.0f} MiB in part: its speed counts, too"
        return Finding(CANNOT_TELL, figures, reason.format(total / 2**20, cache / 2**20))
    return Finding(PASSED, figures)


def _is_same(left: numpy.ndarray, right: numpy.ndarray) -> bool:
    return left.shape == right.shape and bool((left == right).all())


def clocked_by_two(taken: Taken) -> Finding:
    """Medians of the samples, so that a sample that was interrupted between the clocks is none."""
    told, own = statistics.median(taken.elapsed_ns), statistics.median(taken.own_ns)
    figures = (("stopwatch_ns", told), ("worker_ns", own), ("share", told / max(own, 1)))
    if told > own * (1 + ABOVE_SHARE) + ABOVE_NS:
        reason = "the stopwatch told {:.0f} ns where {:.0f} ns passed".format(told, own)
        return Finding(FAILED, figures, reason)
    if own - told > max(SHORT_NS, SHORT_SHARE * own):
        reason = "the stopwatch told {:.0f} ns of {:.0f} ns that passed".format(told, own)
        return Finding(FAILED, figures, reason)
    return Finding(PASSED, figures)


def possible(proof: Proof, phase: Phase) -> Finding:
    """By the ceiling of the device, and by what the kernel saw the process work."""
    request, spent = proof.request, phase.taken.spent
    peak = peaks.peak_of(request.device, proof.adapter.device_name(), request.threads)
    figures, faults = _rates(proof, phase, peak)
    if faults:
        return Finding(FAILED, figures, faults[0])
    if proof.on_cpu:
        timed_ns = float(sum(phase.taken.elapsed_ns)) or 1.0
        worked = spent.processor_ns / timed_ns
        waited = spent.waited_ns / timed_ns
        figures += (("processor_share", worked), ("waited_share", waited))
        if worked + waited < WORKED:
            if proof.adapter.waits_by_design:
                return Finding(IMPOSSIBLE, figures, proof.adapter.waits_by_design)
            reason = "the process worked for {:.0f} % of the timed wall time".format(100 * worked)
            outcome = FAILED if worked + waited < WORKED_NEVER else CANNOT_TELL
            return Finding(outcome, figures, reason)
    if peak is None:
        reason = "no figure is known of {!r}".format(proof.adapter.device_name())
        return Finding(CANNOT_TELL, figures, reason)
    return Finding(PASSED, figures)


def _rates(
    proof: Proof, phase: Phase, peak: Optional[peaks.Peak]
) -> Tuple[Tuple[Tuple[str, float], ...], List[str]]:
    model, size = proof.model, proof.request.batch_size
    flops = products.forward_flops if phase.name == "forward" else products.gradient_flops
    margin = CONVOLUTION_MARGIN if _convolves(model) else MARGIN
    limits = peak or peaks.Peak(float("inf"), float("inf"), "")
    figures: Tuple[Tuple[str, float], ...] = ()
    faults = []
    for name, amount, limit in (
        ("flops_per_s", flops(model, size), limits.flops_per_s * margin),
        ("bytes_per_s", products.copied_bytes(model, size), limits.bytes_per_s * MARGIN),
    ):
        if not amount:
            continue
        rate = amount / (phase.call_ns / 1e9)
        figures += ((name, rate), ("most_" + name, limit if peak else 0.0))
        if rate > limit:
            text = "{:.3g} {} where no more than {:.3g} is possible ({})"
            faults.append(text.format(rate, name, limit, limits.source))
    return figures, faults


def _convolves(model: Model) -> bool:
    own = (kinds.Conv, kinds.DilatedConv, kinds.TransposedConv)
    return any(isinstance(layer, own) for layer in model.layers)


def last_results(proof: Proof, phase: Phase) -> Tuple[Finding, Finding]:
    """(drained, timed_is_checked), of calls just like those that count.

    Then of some samples more, each of an odd number of calls and on another batch than the one
    before, so that who computes every second time is seen.
    """
    indices, tries, found = few_calls(proof, phase, -1), [], []
    for _ in range(TRIES):
        kept = take_kept(phase.calls, indices)
        first, again = (_reading(proof, phase.name, kept.handle) for _ in range(2))
        tries.append((_beyond(proof, first, again, _of_one_call(phase, kept, len(indices))), first))
        found.append(_checked(proof, phase, -1, kept.handle))
        if tries[-1][0] <= 0:
            break
    is_drained = _drained(*min(tries))
    if proof.drops and not isinstance(proof.model.loss, NoLoss):
        return is_drained, _dropping_finding(proof, phase)
    for place in (0, -1) if phase.call_ns < LONG_CALL_NS else (0,):
        few = few_calls(proof, phase, place)
        handle = take_kept(phase.calls, few[1 - len(few) % 2 :]).handle
        found.append(_checked(proof, phase, place, handle))
    return is_drained, _first_failed(found + _others_findings(proof, phase))


def _drained(beyond: float, first: Cost) -> Finding:
    """Of the quickest of some tries: whoever waits for a device waits every time."""
    figures = (
        ("first_reading_ns", first.elapsed_ns),
        ("first_reading_processor_ns", first.processor_ns),
        ("beyond_ns", beyond),
    )
    if beyond <= 0:
        return Finding(PASSED, figures)
    reason = (
        "the device was not done: reading the result took {:.0f} us, {:.0f} us more than it may"
    )
    return Finding(FAILED, figures, reason.format(first.elapsed_ns / 1e3, beyond / 1e3))


def _checked(proof: Proof, phase: Phase, place: int, handle: Handle) -> Finding:
    """Of a result of the checked batch at `place`; nothing is asked here where dropout draws."""
    if isinstance(proof.model.loss, NoLoss):
        return _copy_finding(proof, proof.batches[proof.places[place]], handle)
    if proof.drops:
        return Finding(PASSED)
    return _agreement_finding(proof, phase.name, proof.expected, place, handle)


def _of_one_call(phase: Phase, kept: Kept, calls: int) -> Cost:
    return Cost(
        min(phase.call_ns, kept.elapsed_ns / float(calls)), kept.processor_ns / float(calls)
    )


def _beyond(proof: Proof, first: Cost, again: Cost, call: Cost) -> float:
    """What a first reading takes more than one of the same again and its allowance, in ns.

    The smaller of both clocks on the CPU, so that a reading that was interrupted is none.
    """
    clocks = [
        own - known - max(UNDRAINED_NS, UNDRAINED_SHARE * one, known / 4)
        for own, known, one in zip(first, again, call)
    ]
    return min(clocks) if proof.on_cpu else clocks[0]


def _reading(proof: Proof, phase: str, handle: Handle) -> Cost:
    """From the call's return to values on the host."""
    before_s, began_ns = time.process_time(), monotonic_ns()
    _read(proof, phase, handle)
    elapsed_ns = monotonic_ns() - began_ns
    return Cost(elapsed_ns, (time.process_time() - before_s) * 1e9)


def _read(proof: Proof, phase: str, handle: Handle) -> None:
    adapter, count = proof.adapter, 0
    if isinstance(proof.model.loss, NoLoss):
        adapter.output(handle)
        return
    adapter.loss(handle)
    for _, gradient in adapter.gradients(handle) if phase == "gradient" else ():
        count += gradient.nbytes
        if count >= READ_BYTES:
            break


def _others_findings(proof: Proof, phase: Phase) -> List[Finding]:
    """Of batches between those whose gradients are known, a few by their losses, drawn by seed."""
    losses = proof.reference.losses
    between = [number for number in range(len(losses)) if number not in proof.places]
    if not between:
        return []
    draw = seeding.stream(proof.request.seed, "between", phase.name)
    found = []
    for number in draw.choice(between, size=min(5, len(between)), replace=False):
        loss = proof.adapter.loss(phase.calls.call(int(number)))
        errors = Errors(agreement.relative(loss, losses[number]))
        found.append(_finding(errors, proof, phase.name))
    return found


def _agreement_finding(
    proof: Proof, phase: str, expected: Expected, place: int, handle: Handle
) -> Finding:
    if phase == "forward":
        errors = agreement.errors_of_forward(expected, place, proof.adapter, handle)
    else:
        errors = agreement.errors_of_gradient(
            proof.reference, expected, place, proof.adapter, handle
        )
    return _finding(errors, proof, phase)


def _finding(errors: Errors, proof: Proof, phase: str) -> Finding:
    figures: Tuple[Tuple[str, float], ...] = (("loss_error", errors.loss),)
    if phase == "gradient":
        figures += (("gradient_error", errors.gradient),)
    faults = errors.faults(proof.request.dtype)
    return Finding(FAILED if faults else PASSED, figures, "; ".join(faults))


def _copy_finding(proof: Proof, batch: Batch, handle: Handle) -> Finding:
    try:
        agreement.require_copy(proof.adapter.output(handle), batch.inputs)
    except Disagreed as error:
        return Finding(FAILED, (), error.reason)
    return Finding(PASSED, (("values", float(batch.inputs.size)),))


def _dropping_finding(proof: Proof, phase: Phase) -> Finding:
    """Masks are the framework's own: what comes of them is held against those of the reference."""
    known, adapter = proof.reference.dropout, proof.adapter
    if known is None:
        return Finding(CANNOT_TELL, (), "no parameter stands behind the dropout")
    indices = few_calls(proof, phase)
    calls, faults = [], []
    for _ in range(2):
        handle = take_kept(phase.calls, indices).handle
        if phase.name == "forward":
            calls.append(dropping.Seen(adapter.loss(handle), {}, {}, {}))
            continue
        calls.append(dropping.seen(*_dropped_gradient(proof, handle, faults)))
    if phase.name == "forward":
        known = known._replace(norms={}, zeros={}, apart={})
    faults += dropping.faults(known, calls)
    if calls[0].loss == calls[1].loss:
        faults.append("two calls with dropout active gave the same loss {!r}".format(calls[0].loss))
    figures = (("loss", calls[0].loss), ("masks_known", float(dropping.MASKS)))
    return Finding(FAILED if faults else PASSED, figures, "; ".join(faults[:3]))


def _dropped_gradient(
    proof: Proof, handle: Handle, faults: List[str]
) -> Tuple[float, Dict[str, numpy.ndarray]]:
    """(loss, gradients behind the dropout); of those before it only that they are not zero."""
    names, own = dropping.behind(proof.model), {}
    loss = proof.adapter.loss(handle)
    for name, gradient in agreement.gradients_of(proof.reference, proof.adapter, handle):
        if name in names:
            own[name] = numpy.array(gradient)  # the next call may write where it lies
        elif not numpy.isfinite(gradient).all() or not gradient.any():
            faults.append("the gradient of {} is zero, or not finite".format(name))
    return loss, own


def _first_failed(found: Sequence[Finding]) -> Finding:
    """The one that failed first; else the worst figures of all, by name."""
    for one in found:
        if one.outcome != PASSED:
            return one
    worst: Dict[str, float] = {}
    for one in found:
        for name, value in one.figures:
            worst[name] = max(worst.get(name, value), value)
    return Finding(PASSED, tuple(worst.items()))


def twice_the_work(proof: Proof, phase: Phase) -> Finding:
    """Samples of so many calls and of twice as many; noise makes it say that it cannot tell.

    Only too little counts as failed: what takes more than twice as long was not timed too well.
    """
    once = few_calls(proof, phase)
    singles = phase.taken.elapsed_ns if len(once) == phase.taken.timed.calls else ()
    each_ns = max(len(once) * phase.call_ns, 1.0) * (2 if singles else 3)
    allowed_ns = max(TWICE_SHARE * sum(phase.taken.own_ns), 5 * TWICE_TAKES * MIN_SAMPLE_NS)
    takes = int(min(TWICE_TAKES, allowed_ns / each_ns))
    if not takes:
        reason = "a call takes {:.2g} s: too long to be taken again".format(phase.call_ns / 1e9)
        return Finding(CANNOT_TELL, (), reason)
    for _ in range(TRIES):
        doubles = [_cost(take_kept(phase.calls, once * 2)) for _ in range(takes)]
        known = [_cost(take_kept(phase.calls, once)) for _ in range(0 if singles else takes)]
        if singles:
            known = [Cost(own, _processor_ns(phase)) for own in singles[-TWICE_TAKES:]]
        found = _twice(proof, doubles, known)
        if found.outcome == PASSED:
            break
    return found


def _cost(kept: Kept) -> Cost:
    return Cost(kept.elapsed_ns, kept.processor_ns)


def _processor_ns(phase: Phase) -> float:
    """Of one sample that was timed."""
    return phase.taken.spent.processor_ns / float(len(phase.taken.elapsed_ns))


def _twice(proof: Proof, doubles: Sequence[Cost], singles: Sequence[Cost]) -> Finding:
    two, one = ([cost.elapsed_ns for cost in side] for side in (doubles, singles))
    ratios = [
        ("ratio", statistics.median(two) / max(statistics.median(one), 1.0)),
        ("quickest_ratio", min(two) / max(min(one), 1.0)),
    ]
    used = [statistics.mean(cost.processor_ns for cost in side) for side in (doubles, singles)]
    if proof.on_cpu and used[1] > 0:
        ratios.append(("processor_ratio", used[0] / used[1]))
    values = [ratio for _, ratio in ratios]
    if any(TWICE[0] <= ratio <= TWICE[1] for ratio in values):
        return Finding(PASSED, tuple(ratios))
    told = "twice as many calls took {:.2f} times as long ({:.2f} by the quickest)"
    reason = told.format(values[0], values[1])
    is_less = all(ratio < TWICE_NEVER for ratio in values)
    return Finding(FAILED if is_less else CANNOT_TELL, tuple(ratios), reason)


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
        kept = take_kept(phase.calls, proof.places)
        late[phase.name] = _lateness(proof, _cost(kept), steady[phase.name])
        if not proof.drops:  # at once: the next call may write where its result lies
            right[phase.name] = _fresh_finding(proof, phase, fresh, kept.handle)
    _try_again(proof, phases, fresh, steady, late)
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
        return Cost(count * phase.call_ns, share * _processor_ns(phase))
    costs = [_cost(take_kept(phase.calls, proof.places)) for _ in range(TRIES)]
    return Cost(*[min(column) for column in zip(*costs)])


def _try_again(
    proof: Proof,
    phases: Sequence[Phase],
    fresh: Tuple[Batch, ...],
    steady: Dict[str, Cost],
    late: Dict[str, Finding],
) -> None:
    """What was late may have been disturbed: other batches, until none is. `late` is renewed."""
    slow = _late(phases, late)
    if not slow:
        return
    for number in range(1, TRIES):
        proof.adapter.load(tuple(_rolled(batch, number) for batch in fresh))
        for phase in slow:
            first = _cost(take_kept(phase.calls, proof.places))
            late[phase.name] = _lateness(proof, first, steady[phase.name])
        slow = _late(slow, late)
    proof.adapter.load(fresh)


def _late(phases: Sequence[Phase], late: Dict[str, Finding]) -> List[Phase]:
    return [phase for phase in phases if late[phase.name].outcome != PASSED]


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
        return _copy_finding(proof, fresh[proof.places[place]], handle)
    return _agreement_finding(proof, phase.name, proof.reference.fresh, place, handle)


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


def few_calls(proof: Proof, phase: Phase, place: int = -1) -> Tuple[int, ...]:
    """Numbers of checked batches in turns, as many as last MIN_SAMPLE_NS; `place` comes last."""
    places, count = proof.places, int(MIN_SAMPLE_NS / max(phase.call_ns, 1.0)) + 1
    count = max(1, min(count, MOST_CALLS))
    end = place % len(places) + 1
    turned = places[end:] + places[:end]
    return (turned * (count // len(turned) + 1))[-count:]
