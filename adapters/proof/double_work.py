"""Whether twice as many calls take twice as long."""

import statistics
from typing import Sequence, Tuple

from velodrome.adapters.proof.timed_phase import (
    TRIES,
    Cost,
    Finding,
    Phase,
    Proof,
    cost_of,
    few_calls,
    is_calm,
    processor_ns,
)
from velodrome.adapters.protocol import CANNOT_TELL, FAILED, PASSED
from velodrome.adapters.worker.call_timing import MIN_SAMPLE_NS, take_retained_sample

TWICE = (1.9, 2.1)  # what twice the work takes, over once
TOO_LITTLE = 1.5  # below: a part of the work was left out
TWICE_TAKES = 5
TWICE_SHARE = 0.05  # of the phase's own time, that a first look may take
LAST_LOOK = 4  # samples of each kind, before it is called failed


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
        doubles = [cost_of(take_retained_sample(phase.calls, once * 2)) for _ in range(takes)]
        known = [
            cost_of(take_retained_sample(phase.calls, once)) for _ in range(0 if singles else takes)
        ]
        if singles:
            known = [Cost(own, processor_ns(phase)) for own in singles[-TWICE_TAKES:]]
        found = _judged(_ratios(proof, doubles, known))
        if found.outcome == PASSED:
            return found
    if not _is_less(found):
        return found
    return _last_look(proof, phase, once)


def _last_look(proof: Proof, phase: Phase, once: Tuple[int, ...]) -> Finding:
    """In turns, so that both kinds see the same machine; failed only if that was a calm one."""
    doubles, singles = [], []
    for _ in range(LAST_LOOK):
        doubles.append(cost_of(take_retained_sample(phase.calls, once * 2)))
        singles.append(cost_of(take_retained_sample(phase.calls, once)))
    found = _judged(_ratios(proof, doubles, singles))
    calm = all(is_calm([cost.elapsed_ns for cost in side]) for side in (doubles, singles))
    return found._replace(outcome=FAILED) if calm and _is_less(found) else found


def _ratios(
    proof: Proof, doubles: Sequence[Cost], singles: Sequence[Cost]
) -> Tuple[Tuple[str, float], ...]:
    two, one = ([cost.elapsed_ns for cost in side] for side in (doubles, singles))
    ratios = [
        ("ratio", statistics.median(two) / max(statistics.median(one), 1.0)),
        ("quickest_ratio", min(two) / max(min(one), 1.0)),
    ]
    used = [statistics.mean(cost.processor_ns for cost in side) for side in (doubles, singles)]
    if proof.on_cpu and used[1] > 0:
        ratios.append(("processor_ratio", used[0] / used[1]))
    return tuple(ratios)


def _judged(ratios: Tuple[Tuple[str, float], ...]) -> Finding:
    values = [ratio for _, ratio in ratios]
    if any(TWICE[0] <= ratio <= TWICE[1] for ratio in values):
        return Finding(PASSED, ratios)
    told = "twice as many calls took {:.2f} times as long ({:.2f} by the quickest)"
    return Finding(CANNOT_TELL, ratios, told.format(values[0], values[1]))


def _is_less(found: Finding) -> bool:
    return found.outcome != PASSED and all(ratio < TOO_LITTLE for _, ratio in found.figures)
