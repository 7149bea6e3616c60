"""Whether twice as many calls take twice as long."""

import statistics
from typing import Sequence

from velodrome.adapters.protocol import CANNOT_TELL, FAILED, PASSED
from velodrome.adapters.proving.proof import (
    TRIES,
    Cost,
    Finding,
    Phase,
    Proof,
    cost_of,
    few_calls,
    processor_ns,
)
from velodrome.adapters.timing import MIN_SAMPLE_NS, take_kept

TWICE = (1.9, 2.1)  # what twice the work takes, over once
TWICE_NEVER = 1.5  # below: what no noise makes of the median and the quickest, three times
TWICE_TAKES = 5
TWICE_SHARE = 0.05  # of the phase's own time, that this check may take


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
        doubles = [cost_of(take_kept(phase.calls, once * 2)) for _ in range(takes)]
        known = [cost_of(take_kept(phase.calls, once)) for _ in range(0 if singles else takes)]
        if singles:
            known = [Cost(own, processor_ns(phase)) for own in singles[-TWICE_TAKES:]]
        found = _twice(proof, doubles, known)
        if found.outcome == PASSED:
            break
    return found


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
