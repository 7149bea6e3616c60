"""A check that twice as many calls take twice as long."""

import statistics
from typing import Sequence, Tuple

from velodrome.adapters.proof.timed_phase import (
    TRIES,
    CallCost,
    CheckFinding,
    ProofContext,
    TimedPhase,
    choose_batches,
    is_interference_free,
    mean_processor_ns,
    to_cost,
)
from velodrome.adapters.protocol import CANNOT_TELL, FAILED, PASSED
from velodrome.adapters.worker.call_timing import MIN_SAMPLE_NS, take_retained_sample

PASSING_RATIOS = (1.9, 2.1)  # accepted ratios of twice the work over once
FAILING_RATIO = 1.5  # below: part of the work was skipped
MAX_SAMPLES = 5
TIME_SHARE = 0.05  # of the phase's own time, for a first measurement
RETRY_ROUNDS, RETRY_SAMPLES = 5, 4  # at most, and samples of each kind in a round
FAILED_ROUNDS = 2  # without interference, before the check fails


def check_double_work(proof: ProofContext, phase: TimedPhase) -> CheckFinding:
    """Compare samples of some calls with samples of twice as many; `cannot_tell` if noise is large.

    Only a small ratio fails: a large one means that no time was too short.
    """
    once = choose_batches(proof, phase)
    singles = phase.samples.elapsed_ns if len(once) == phase.samples.timed.calls else ()
    each_ns = max(len(once) * phase.call_ns, 1.0) * (2 if singles else 3)
    allowed_ns = max(TIME_SHARE * sum(phase.samples.own_ns), 5 * MAX_SAMPLES * MIN_SAMPLE_NS)
    takes = int(min(MAX_SAMPLES, allowed_ns / each_ns))
    if not takes:
        reason = "a call takes {:.2g} s: too long to repeat".format(phase.call_ns / 1e9)
        return CheckFinding(CANNOT_TELL, (), reason)
    for _ in range(TRIES):
        doubles = [to_cost(take_retained_sample(phase.calls, once * 2)) for _ in range(takes)]
        if singles:
            costs = [CallCost(own, mean_processor_ns(phase)) for own in singles[-MAX_SAMPLES:]]
        else:
            costs = [to_cost(take_retained_sample(phase.calls, once)) for _ in range(takes)]
        found = judge_ratios(compute_ratios(proof, doubles, costs))
        if found.outcome == PASSED:
            return found
    if not has_failed(found):
        return found
    return _retry_alternating(proof, phase, once)


def _retry_alternating(
    proof: ProofContext, phase: TimedPhase, once: Tuple[int, ...]
) -> CheckFinding:
    """Repeat both kinds in alternation, for equal conditions.

    Fails if two rounds do without interference, and none shows the whole work: what is skipped is
    missing in all of them.
    """
    failed = 0
    for _ in range(RETRY_ROUNDS):
        doubles, singles = [], []
        for _ in range(RETRY_SAMPLES):
            doubles.append(to_cost(take_retained_sample(phase.calls, once * 2)))
            singles.append(to_cost(take_retained_sample(phase.calls, once)))
        found = judge_ratios(compute_ratios(proof, doubles, singles))
        if not has_failed(found):
            return found
        times = [[cost.elapsed_ns for cost in side] for side in (doubles, singles)]
        failed += all(map(is_interference_free, times))
        if failed == FAILED_ROUNDS:
            return found._replace(outcome=FAILED)
    return found


def compute_ratios(
    proof: ProofContext, doubles: Sequence[CallCost], singles: Sequence[CallCost]
) -> Tuple[Tuple[str, float], ...]:
    """Return the ratios of twice the work over once, by name."""
    two, one = ([cost.elapsed_ns for cost in side] for side in (doubles, singles))
    ratios = [
        ("ratio", statistics.median(two) / max(statistics.median(one), 1.0)),
        ("quickest_ratio", min(two) / max(min(one), 1.0)),
    ]
    used = [statistics.mean(cost.processor_ns for cost in side) for side in (doubles, singles)]
    if proof.on_cpu and used[1] > 0:
        ratios.append(("processor_ratio", used[0] / used[1]))
    return tuple(ratios)


def judge_ratios(ratios: Tuple[Tuple[str, float], ...]) -> CheckFinding:
    """Return `passed` if one of the ratios is near 2, else `cannot_tell`."""
    values = [ratio for _, ratio in ratios]
    if any(PASSING_RATIOS[0] <= ratio <= PASSING_RATIOS[1] for ratio in values):
        return CheckFinding(PASSED, ratios)
    reason = "twice as many calls took {:.2f} times as long ({:.2f} by the quickest)"
    return CheckFinding(CANNOT_TELL, ratios, reason.format(values[0], values[1]))


def has_failed(found: CheckFinding) -> bool:
    """Return True if all ratios show that part of the work was skipped."""
    return found.outcome != PASSED and all(ratio < FAILING_RATIO for _, ratio in found.figures)
