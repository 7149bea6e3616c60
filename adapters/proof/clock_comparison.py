"""A comparison of an adapter's stopwatch with the worker's own clock around it."""

import math

from velodrome.adapters.proof.timed_phase import CheckFinding, TimedPhase
from velodrome.adapters.protocol import FAILED, PASSED

# The stopwatch may be shorter than the worker's clock around it by the larger of a share of the
# sample and a time: on a GPU, to wake up after its events and to launch; on a CPU, 2 us.
SHORT_SHARE, SHORT_NS = 0.05, 200000
ABOVE_SHARE, ABOVE_NS = 0.02, 2000  # it may be longer by this: the resolution of a device's clock
AGREES = 0.75  # quantile of the samples, sorted by agreement


def compare_clocks(phase: TimedPhase) -> CheckFinding:
    """Compare the clocks by the sample at the upper quartile of agreement.

    In some samples another process may run between the clocks; a wrong stopwatch shows in all.
    """
    pairs = sorted(
        zip(phase.samples.elapsed_ns, phase.samples.own_ns),
        key=lambda pair: pair[0] / max(pair[1], 1),
    )
    shown, own = pairs[math.ceil(AGREES * len(pairs)) - 1]
    figures = (("stopwatch_ns", shown), ("worker_ns", own), ("share", shown / max(own, 1)))
    if shown > own * (1 + ABOVE_SHARE) + ABOVE_NS:
        reason = "the stopwatch shows {:.0f} ns but {:.0f} ns passed".format(shown, own)
        return CheckFinding(FAILED, figures, reason)
    if own - shown > max(SHORT_NS, SHORT_SHARE * own):
        reason = "the stopwatch shows only {:.0f} ns of {:.0f} ns that passed".format(shown, own)
        return CheckFinding(FAILED, figures, reason)
    return CheckFinding(PASSED, figures)
