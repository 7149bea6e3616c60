"""When there are enough samples: functions of the samples so far and of nothing else."""

from typing import Sequence

from velodrome.adapters.intervals import Interval, median_interval, middle
from velodrome.adapters.protocol import Timing

SECOND_NS = 1000000000
FEWEST = 3  # samples, however long one lasts

WINDOW = 5  # samples at least in each of the two windows that must be alike
SLOWER = 0.95  # the later window's median over the earlier's, below which it is still speeding up

SETTLED_MIN = 100  # samples; with fewer, chance alone makes a width that did not shrink
SETTLED_SHARE = 0.25  # of max_seconds that are spent before giving up is thought of


def stop_reason(elapsed_ns: Sequence[int], timing: Timing) -> str:
    """`target`, `settled` or `max_seconds`; empty: go on. A function of the samples alone.

    target: the median's interval is narrow enough, after min_samples and min_seconds. settled: more
    samples have stopped narrowing it, and what max_seconds still allow would not be enough if they
    had not. Looking again and again finds a narrow interval a little too early now and then; that
    next_check looks seldom keeps this small.
    """
    count, total_s = len(elapsed_ns), sum(elapsed_ns) / float(SECOND_NS)
    at_the_cap = count >= FEWEST and total_s >= timing.max_seconds
    enough = count >= timing.min_samples and total_s >= timing.min_seconds
    if not (at_the_cap or enough):
        return ""
    interval = median_interval(elapsed_ns)
    if meets(interval, timing.target):
        return "target"
    if at_the_cap:
        return "max_seconds"
    spent = total_s / timing.max_seconds
    hopeless = interval.relative_half_width * spent**0.5 > timing.target
    if spent >= SETTLED_SHARE and hopeless and stopped_narrowing(elapsed_ns, interval):
        return "settled"
    return ""


def meets(interval: Interval, target: float) -> bool:
    return interval.covered and interval.relative_half_width <= target


def stopped_narrowing(elapsed_ns: Sequence[int], interval: Interval) -> bool:
    """Whether `interval`, of all samples, is hardly narrower than that of their first parts.

    Of independent samples it is half as wide as a quarter's, and 0.7 of a half's: such samples go
    on. Where speed drifts it is not, and only a fresh process can tell more. The idea is nvbench's
    `stdrel` criterion, which watches the standard deviation instead.
    """
    count, width = len(elapsed_ns), interval.relative_half_width
    if count < SETTLED_MIN:
        return False
    quarter = median_interval(elapsed_ns[: count // 4]).relative_half_width
    half = median_interval(elapsed_ns[: count // 2]).relative_half_width
    return width > 0.9 * quarter and width > 0.9 * half


def settled(samples: Sequence[float]) -> bool:
    """Whether the last two windows of samples have one speed: the later no more than 5 % faster.

    A window is a quarter of the samples, and at least WINDOW, so that a long slow gain is seen too.
    """
    window = max(WINDOW, len(samples) // 4)
    if len(samples) < 2 * window:
        return False
    earlier = middle(sorted(samples[-2 * window : -window]))
    return middle(sorted(samples[-window:])) >= SLOWER * earlier


def next_check(count: int) -> int:
    """At how many samples to look again: at a quarter more, so that looking costs little."""
    return count + max(1, count // 4)
