"""When there are enough samples: functions of the samples so far and of nothing else."""

from typing import NamedTuple, Sequence

from velodrome.adapters.protocol import Timing
from velodrome.adapters.timing.autocorrelation import signs_around
from velodrome.adapters.timing.bimodality import kinds
from velodrome.adapters.timing.drift import HINT, STEADY, drift
from velodrome.adapters.timing.intervals import Interval, median_interval, middle
from velodrome.adapters.timing.low_frequency import LIKELY, SURE, Rise, still_rises

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
PARTS = 12  # of the samples, in their order: where their medians are close, slow noise is little
DRIFT = 0.5  # targets that the speed may have changed by


class Judged(NamedTuple):
    """What samples amount to. drift: the change of speed that chance does not explain, relative.

    doubt: why the median is not known to within the target: what flaw_of says of the interval, or
    wide: it is wider than the target. Empty if it is known. bounded: whether the interval is one of
    95 %, however wide, for noise that the samples can show; else its bounds say nothing.
    """

    interval: Interval
    drift: float
    doubt: str
    bounded: bool

    @property
    def stable(self) -> bool:
        return not self.doubt


class Strictness(NamedTuple):
    """What chance must not explain: chi-square of a drift, the rise of the spectrum to zero."""

    drift: float
    rise: Rise


FINAL = Strictness(STEADY, SURE)
LOOKING_ON = Strictness(HINT, LIKELY)  # while there is time, a mere hint is reason to look on


def judge(elapsed_ns: Sequence[float], target: float) -> Judged:
    """Of at least one sample, in the order in which they were taken."""
    interval = median_interval(elapsed_ns)
    flaw = flaw_of(elapsed_ns, interval, target)
    doubt = doubt_by(flaw, elapsed_ns, interval, target)
    return Judged(interval, drift(elapsed_ns, interval.median), doubt, not flaw)


def is_known(
    elapsed_ns: Sequence[float], interval: Interval, target: float, strict: Strictness
) -> bool:
    """Whether the median is known to within the target, the cheapest question first."""
    if are_enough(elapsed_ns, target):
        return True
    if strict is LOOKING_ON:
        return not (too_wide(interval, target) or flaw_of(elapsed_ns, interval, target, strict))
    flaw = flaw_of(elapsed_ns, interval, target, strict)
    return not doubt_by(flaw, elapsed_ns, interval, target)


def doubt_by(flaw: str, elapsed_ns: Sequence[float], interval: Interval, target: float) -> str:
    """What keeps the median from being known to the target, once no more samples are taken."""
    if are_enough(elapsed_ns, target) or matters_not(flaw, elapsed_ns, target):
        return ""
    return flaw or too_wide(interval, target)


def matters_not(flaw: str, elapsed_ns: Sequence[float], target: float) -> bool:
    """Whether samples depend on each other, but so little that the target is met.

    They bound nothing, as nobody knows how slow their noise is. But what moved the medians of four
    parts of them by no more than half the target can hardly move the whole by all of it.
    """
    count = len(elapsed_ns)
    if flaw not in ("few", "slow") or count < LEAST_WORTH:
        return False
    parts = [
        middle(sorted(elapsed_ns[count * part // PARTS : count * (part + 1) // PARTS]))
        for part in range(PARTS)
    ]
    return are_close(parts, target)


def too_wide(interval: Interval, target: float) -> str:
    return "wide" if interval.relative_half_width > target else ""


def flaw_of(
    elapsed_ns: Sequence[float],
    interval: Interval,
    target: float,
    strictness: Strictness = FINAL,
) -> str:
    """Why the interval is not one of 95 %; empty: it is.

    few: not enough samples, or what depends on each other. kinds: they are of two kinds, and the
    median hangs on how many there are of each. drift: their speed changed. Both count only if by
    more than interval and target leave open. slow: their noise has no longest scale within the
    samples, so that more of them would move the median.
    """
    count = len(elapsed_ns)
    if not interval.covered or count < LEAST_WORTH:
        return "few"
    open_by = max(interval.relative_half_width, target)
    found = kinds(elapsed_ns, interval.median)
    is_rare = not found.is_even and count >= LEAST_WORTH * found.inflated
    if found.gap > open_by and not is_rare:
        return "kinds"
    if drift(elapsed_ns, interval.median, strictness.drift) > DRIFT * open_by:
        return "drift"
    if count < LEAST_WORTH * interval.by_neighbours:
        return "few"
    signs = signs_around(elapsed_ns, interval.median)
    return "slow" if still_rises(signs, strictness.rise) else ""


def are_enough(elapsed_ns: Sequence[float], target: float) -> bool:
    """Whether they are close, and so many that their range would be an interval if independent."""
    return len(elapsed_ns) >= FEWEST_CLOSE and are_close(elapsed_ns, target)


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
    if is_known(elapsed_ns, interval, timing.target, FINAL if capped else LOOKING_ON):
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
    if interval.relative_half_width * spent**0.5 > timing.target:
        return stopped_narrowing(elapsed_ns, interval)
    found = kinds(elapsed_ns, interval.median)
    return found.is_even and found.gap > max(timing.target, interval.relative_half_width)


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
