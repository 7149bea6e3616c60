"""Whether an adapter's stopwatch agrees with the worker's own clock around it."""

import math

from velodrome.adapters.proof.timed_phase import CheckFinding, TimedPhase
from velodrome.adapters.protocol import FAILED, PASSED

# Of a sample, by which the stopwatch may be short of the worker's clock around it: the larger of a
# share and a time. On a GPU, that of waking up behind its events, and of a launch; on a CPU, 2 us.
SHORT_SHARE, SHORT_NS = 0.05, 200000
ABOVE_SHARE, ABOVE_NS = 0.02, 2000  # by which it may be above it: the grain of a device's clock
AGREES = 0.75  # of the samples: in a quarter the clocks may agree better than this one


def compare_clocks(phase: TimedPhase) -> CheckFinding:
    """By the sample at the upper quartile of agreement.

    In others another process may have come between the clocks; a wrong stopwatch is so in all.
    """
    pairs = sorted(
        zip(phase.taken.elapsed_ns, phase.taken.own_ns), key=lambda pair: pair[0] / max(pair[1], 1)
    )
    told, own = pairs[math.ceil(AGREES * len(pairs)) - 1]
    figures = (("stopwatch_ns", told), ("worker_ns", own), ("share", told / max(own, 1)))
    if told > own * (1 + ABOVE_SHARE) + ABOVE_NS:
        reason = "the stopwatch told {:.0f} ns where {:.0f} ns passed".format(told, own)
        return CheckFinding(FAILED, figures, reason)
    if own - told > max(SHORT_NS, SHORT_SHARE * own):
        reason = "the stopwatch told {:.0f} ns of {:.0f} ns that passed".format(told, own)
        return CheckFinding(FAILED, figures, reason)
    return CheckFinding(PASSED, figures)
