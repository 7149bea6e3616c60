"""The stopping rule of timing: pure functions of the samples so far."""

from typing import NamedTuple, Sequence

from velodrome.adapters.protocol import Timing
from velodrome.adapters.timing.autocorrelation import compute_signs
from velodrome.adapters.timing.bimodality import measure_bimodality
from velodrome.adapters.timing.drift import TREND, WEAK_TREND, measure_drift
from velodrome.adapters.timing.intervals import Interval, compute_median_interval, take_median
from velodrome.adapters.timing.low_frequency import LIKELY, SURE, RiseLimits, rises_towards_zero

SECOND_NS = 1000000000
MIN_SAMPLES = 3  # however long one lasts

WINDOW = 5  # minimum samples in each of the two windows that warm-up compares
SLOWER = 0.95  # below this ratio of the later to the earlier median, warm-up continues

PLATEAU_MIN_SAMPLES = 100  # with fewer, the width may fail to shrink by chance
PLATEAU_MIN_SHARE = 0.25  # of max_seconds, before the timing may give up

# Fewer do not show autocorrelation: for ten samples in a row, each correlated by 0.9 with the one
# before, a narrow interval misses the median in 4 of 10 cases.
MIN_EFFECTIVE_SAMPLES = 30
CLOSE = 0.25  # times the target: if all samples are within that of the median, fewer suffice
MIN_CLOSE_SAMPLES = 6  # the range of six independent samples is a 95 % interval
PARTS = 12  # of the samples, in their order: if their medians are close, slow noise is small
DRIFT = 0.5  # times the target: the change of speed that is allowed


class Judgement(NamedTuple):
    """A judgement on samples. drift: the relative change of speed that chance does not explain.

    instability: its reason: a flaw of find_flaw, or `wide` for an interval wider than the target;
    empty if the median is known. bounded: the interval has 95 % coverage, however wide, for
    noise that the samples can show.
    """

    interval: Interval
    drift: float
    instability: str
    bounded: bool

    @property
    def stable(self) -> bool:
        return not self.instability


class Strictness(NamedTuple):
    """Test limits: chi-square of a drift, and the spectrum's rise towards zero."""

    drift: float
    rise: RiseLimits


FINAL = Strictness(TREND, SURE)
# While time is left, weak evidence is a reason to take more samples.
PRELIMINARY = Strictness(WEAK_TREND, LIKELY)


def judge(elapsed_ns: Sequence[float], target: float) -> Judgement:
    """Judge at least one sample, given in the order of measurement."""
    interval = compute_median_interval(elapsed_ns)
    flaw = find_flaw(elapsed_ns, interval, target)
    instability = find_instability(flaw, elapsed_ns, interval, target)
    return Judgement(interval, measure_drift(elapsed_ns, interval.median), instability, not flaw)


def is_median_known(
    elapsed_ns: Sequence[float], interval: Interval, target: float, strict: Strictness
) -> bool:
    """Return True if the median is known to within the target; the cheapest test runs first."""
    if are_close_and_many(elapsed_ns, target):
        return True
    if strict is PRELIMINARY:
        return not (
            check_width(interval, target) or find_flaw(elapsed_ns, interval, target, strict)
        )
    flaw = find_flaw(elapsed_ns, interval, target, strict)
    return not find_instability(flaw, elapsed_ns, interval, target)


def find_instability(
    flaw: str, elapsed_ns: Sequence[float], interval: Interval, target: float
) -> str:
    """Return the instability reason of samples that are complete; empty if the median is known."""
    if are_close_and_many(elapsed_ns, target) or is_dependence_negligible(flaw, elapsed_ns, target):
        return ""
    return flaw or check_width(interval, target)


def is_dependence_negligible(flaw: str, elapsed_ns: Sequence[float], target: float) -> bool:
    """Return True if the samples' dependence is too small to miss the target.

    Such samples give no bounds, since the time scale of their noise is unknown. But noise that
    moves the medians of their parts by at most half the target hardly moves the whole by all of it.
    """
    count = len(elapsed_ns)
    if flaw not in ("few", "slow") or count < MIN_EFFECTIVE_SAMPLES:
        return False
    parts = [
        take_median(sorted(elapsed_ns[count * part // PARTS : count * (part + 1) // PARTS]))
        for part in range(PARTS)
    ]
    return are_close(parts, target)


def check_width(interval: Interval, target: float) -> str:
    """Return `wide` if the interval is wider than the target, else an empty text."""
    return "wide" if interval.relative_half_width > target else ""


def find_flaw(
    elapsed_ns: Sequence[float],
    interval: Interval,
    target: float,
    strictness: Strictness = FINAL,
) -> str:
    """Return the reason against 95 % coverage of the interval; empty if there is none.

    few: too few effective samples. kinds: the samples are bimodal, so that the median depends on
    the modes' shares. drift: the speed changed. Both count only above the interval's width and the
    target. slow: the noise has no longest time scale within the samples, so that more samples would
    move the median.
    """
    count = len(elapsed_ns)
    if not interval.covered or count < MIN_EFFECTIVE_SAMPLES:
        return "few"
    tolerance = max(interval.relative_half_width, target)
    modes = measure_bimodality(elapsed_ns, interval.median)
    is_rare = not modes.is_balanced and count >= MIN_EFFECTIVE_SAMPLES * modes.inflation
    if modes.gap > tolerance and not is_rare:
        return "kinds"
    if measure_drift(elapsed_ns, interval.median, strictness.drift) > DRIFT * tolerance:
        return "drift"
    if count < MIN_EFFECTIVE_SAMPLES * interval.autocorrelation_time:
        return "few"
    signs = compute_signs(elapsed_ns, interval.median)
    return "slow" if rises_towards_zero(signs, strictness.rise) else ""


def are_close_and_many(elapsed_ns: Sequence[float], target: float) -> bool:
    """Return True if samples are close, and enough for their range to be a 95 % interval."""
    return len(elapsed_ns) >= MIN_CLOSE_SAMPLES and are_close(elapsed_ns, target)


def are_close(elapsed_ns: Sequence[float], target: float) -> bool:
    """Return True if samples are so close that the target is met whatever their dependence."""
    return max(elapsed_ns) - min(elapsed_ns) <= 2 * CLOSE * target * min(elapsed_ns)


def find_stop_reason(elapsed_ns: Sequence[int], timing: Timing) -> str:
    """Return `target`, `settled` or `max_seconds`; empty: take more samples.

    target: the median is known, after min_samples and min_seconds. settled: more samples no longer
    narrow the interval, and the rest of max_seconds would not suffice even if they did. Repeated
    checks sometimes find a narrow interval too early; schedule_next_check keeps checks rare.
    """
    total_s = sum(elapsed_ns) / float(SECOND_NS)
    capped = is_time_over(elapsed_ns, total_s, timing)
    if not (capped or may_stop(elapsed_ns, total_s, timing)):
        return ""
    interval = compute_median_interval(elapsed_ns)
    if is_median_known(elapsed_ns, interval, timing.target, FINAL if capped else PRELIMINARY):
        return "target"
    if capped:
        return "max_seconds"
    return "settled" if is_target_unreachable(elapsed_ns, total_s, interval, timing) else ""


def is_time_over(elapsed_ns: Sequence[int], total_s: float, timing: Timing) -> bool:
    """Return True if max_seconds have passed."""
    return len(elapsed_ns) >= MIN_SAMPLES and total_s >= timing.max_seconds


def may_stop(elapsed_ns: Sequence[int], total_s: float, timing: Timing) -> bool:
    """Return True if the minimum number of samples and the minimum time are reached."""
    if len(elapsed_ns) < timing.min_samples or total_s < timing.min_seconds:
        return False
    return len(elapsed_ns) >= MIN_EFFECTIVE_SAMPLES or are_close(elapsed_ns, timing.target)


def is_target_unreachable(
    elapsed_ns: Sequence[int], total_s: float, interval: Interval, timing: Timing
) -> bool:
    """Return True if the rest of the time cannot narrow the interval to the target."""
    spent = total_s / timing.max_seconds
    if spent < PLATEAU_MIN_SHARE or len(elapsed_ns) < PLATEAU_MIN_SAMPLES:
        return False
    if interval.relative_half_width * spent**0.5 > timing.target:
        return has_stopped_narrowing(elapsed_ns, interval)
    modes = measure_bimodality(elapsed_ns, interval.median)
    return modes.is_balanced and modes.gap > max(timing.target, interval.relative_half_width)


def has_stopped_narrowing(elapsed_ns: Sequence[int], interval: Interval) -> bool:
    """Return True if the interval of all samples is hardly narrower than that of a part of them.

    For independent samples it is half as wide as a quarter's, and 0.7 of a half's. If the speed
    drifts it is not, and only a new process helps. The idea is nvbench's `stdrel` criterion, which
    uses the standard deviation instead.
    """
    count, width = len(elapsed_ns), interval.relative_half_width
    quarter = compute_median_interval(elapsed_ns[: count // 4]).relative_half_width
    half = compute_median_interval(elapsed_ns[: count // 2]).relative_half_width
    return width > 0.9 * quarter and width > 0.9 * half


def has_converged(samples: Sequence[float]) -> bool:
    """Return True if the last window of samples is at most 5 % faster than the one before.

    A window is a quarter of the samples, at least WINDOW, to detect a long slow gain too.
    """
    window = max(WINDOW, len(samples) // 4)
    if len(samples) < 2 * window:
        return False
    earlier = take_median(sorted(samples[-2 * window : -window]))
    return take_median(sorted(samples[-window:])) >= SLOWER * earlier


def schedule_next_check(count: int) -> int:
    """Return the number of samples at the next check: a quarter more, to keep checks cheap."""
    return count + max(1, count // 4)
