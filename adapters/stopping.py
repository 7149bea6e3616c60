"""When there are enough samples: functions of the samples so far and of nothing else."""

from typing import NamedTuple, Sequence

from velodrome.adapters.drifting import HINT, STEADY, drift
from velodrome.adapters.intervals import Interval, median_interval, middle
from velodrome.adapters.kinds import kinds
from velodrome.adapters.protocol import Timing

SECOND_NS = 1000000000
FEWEST = 3  # samples, however long one lasts

WINDOW = 5  # samples at least in each of the two windows that must be alike
SLOWER = 0.95  # the later window's median over the earlier's, below which it is still speeding up

SETTLED_MIN = 100  # samples; with fewer, chance alone makes a width that did not shrink
SETTLED_SHARE = 0.25  # of max_seconds that are spent before giving up is thought of

# Independent samples that all must be worth. In fewer, dependence does not show: of ten samples in
# a row, each correlated by 0.9 with the one before, a narrow interval misses in 4 of 10 cases.
LEAST_WORTH = 30
CLOSE = 0.25  # targets around the median within which all samples lie: then fewer will do
FEWEST_CLOSE = 6  # with which, independent, the range is a 95 % interval
DRIFT = 0.5  # targets that the speed may have changed by


class Judged(NamedTuple):
    """What samples amount to. drift: the change of speed that chance does not explain, relative.

    doubt: why the median is not known to within the target, as `doubt` says it; empty if it is.
    """

    interval: Interval
    drift: float
    doubt: str

    @property
    def stable(self) -> bool:
        return not self.doubt


def judge(elapsed_ns: Sequence[float], target: float) -> Judged:
    """Of at least one sample, in the order in which they were taken."""
    interval = median_interval(elapsed_ns)
    changed = drift(elapsed_ns, interval.median)
    return Judged(interval, changed, doubt(elapsed_ns, interval, target))


def doubt(
    elapsed_ns: Sequence[float], interval: Interval, target: float, steady: float = STEADY
) -> str:
    """Why they do not tell the median to within the target; empty: they do.

    wide: their interval is wider. few: not enough of them, or what depends on each other. kinds:
    they are of two kinds, and the median hangs on how many there are of each. drift: their speed
    changed by more than the target allows; steady: as `drift` has it.
    """
    if are_close(elapsed_ns, target):
        return "" if len(elapsed_ns) >= FEWEST_CLOSE else "few"
    if interval.relative_half_width > target:
        return "wide"
    if not interval.covered or len(elapsed_ns) < LEAST_WORTH * interval.inflated:
        return "few"
    found = kinds(elapsed_ns, interval.median)
    is_rare = not found.is_even and len(elapsed_ns) >= LEAST_WORTH * found.inflated
    if found.gap > target and not is_rare:
        return "kinds"
    return "drift" if drift(elapsed_ns, interval.median, steady) > DRIFT * target else ""


def are_close(elapsed_ns: Sequence[float], target: float) -> bool:
    """Whether they are so alike that the target is met however much they depend on each other."""
    return max(elapsed_ns) - min(elapsed_ns) <= 2 * CLOSE * target * min(elapsed_ns)


def stop_reason(elapsed_ns: Sequence[int], timing: Timing) -> str:
    """`target`, `settled` or `max_seconds`; empty: go on. A function of the samples alone.

    target: nothing is left to doubt, after min_samples and min_seconds. settled: more samples have
    stopped narrowing the interval, and what max_seconds still allow would not be enough if they had
    not. Looking again and again finds a narrow interval a little too early now and then; that
    next_check looks seldom keeps this small.
    """
    total_s = sum(elapsed_ns) / float(SECOND_NS)
    capped = at_the_cap(elapsed_ns, total_s, timing)
    if not (capped or enough(elapsed_ns, total_s, timing)):
        return ""
    interval = median_interval(elapsed_ns)
    # While there is time, a mere hint of a drift is reason enough to look on.
    if not doubt(elapsed_ns, interval, timing.target, STEADY if capped else HINT):
        return "target"
    if capped:
        return "max_seconds"
    return "settled" if hopeless(elapsed_ns, total_s, interval, timing) else ""


def at_the_cap(elapsed_ns: Sequence[int], total_s: float, timing: Timing) -> bool:
    return len(elapsed_ns) >= FEWEST and total_s >= timing.max_seconds


def enough(elapsed_ns: Sequence[int], total_s: float, timing: Timing) -> bool:
    """Whether stopping may be thought of: as many samples and as long as was asked, at least."""
    if len(elapsed_ns) < timing.min_samples or total_s < timing.min_seconds:
        return False
    return len(elapsed_ns) >= LEAST_WORTH or are_close(elapsed_ns, timing.target)


def hopeless(elapsed_ns: Sequence[int], total_s: float, interval: Interval, timing: Timing) -> bool:
    """Whether the noise has settled above the target: what is left of the time will not do."""
    spent = total_s / timing.max_seconds
    if spent < SETTLED_SHARE or len(elapsed_ns) < SETTLED_MIN:
        return False
    too_wide = interval.relative_half_width * spent**0.5 > timing.target
    if too_wide:
        return stopped_narrowing(elapsed_ns, interval)
    found = kinds(elapsed_ns, interval.median)
    return found.is_even and found.gap > timing.target


def stopped_narrowing(elapsed_ns: Sequence[int], interval: Interval) -> bool:
    """Whether `interval`, of all samples, is hardly narrower than that of their first parts.

    Of independent samples it is half as wide as a quarter's, and 0.7 of a half's: such samples go
    on. Where speed drifts it is not, and only a fresh process can tell more. The idea is nvbench's
    `stdrel` criterion, which watches the standard deviation instead.
    """
    count, width = len(elapsed_ns), interval.relative_half_width
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
