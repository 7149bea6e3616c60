"""The time of a cell in one phase: median, interval, and the reason if it is not stable.

The median is over repeats (each a fresh process) of the repeat's median. The 95 % interval is that
of velodrome.scheduler.statistics.cell_interval, which often finds none for few processes.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.cell_interval import (
    FEWEST,
    ProcessVariation,
    compute_cell_interval,
)
from velodrome.scheduler.statistics.replication import Repeat
from velodrome.scheduler.statistics.stability import format_spread

ONE_PROCESS = "1 process"
INSTABILITY = {
    "wide": "the interval of the median is wider than the target",
    "few": "too few independent samples",
    "kinds": "the samples are bimodal, and the median depends on the share of each mode",
    "slow": "low-frequency noise: a longer measurement would move the median",
    "drift": "the speed drifted during the measurement",
}
UNKNOWN_INSTABILITY = "the timing did not converge"  # rows of versions that recorded no reason


@dataclass(frozen=True)
class Time:
    """ns per call: a median and the bounds of its 95 % interval, None without an interval.

    spread: the largest process median over the smallest. source: of the interval, where it is not
    from these processes themselves. instability: why the median is not stable; empty if it is.
    """

    median_ns: float
    low_ns: float | None = None
    high_ns: float | None = None
    processes: int = 1
    spread: float = 1.0
    source: str = ""
    instability: str = ""

    @property
    def is_stable(self) -> bool:
        return not self.instability

    @property
    def bounds(self) -> tuple[float, float] | None:
        if self.low_ns is None or self.high_ns is None:
            return None
        return self.low_ns, self.high_ns

    @property
    def half_width(self) -> float | None:
        """The larger distance from the median to a bound, over the median; None without bounds."""
        if self.bounds is None or not self.median_ns > 0:
            return None
        low_ns, high_ns = self.bounds
        return max(high_ns - self.median_ns, self.median_ns - low_ns) / self.median_ns


def combine_repeats(
    repeats: Sequence[Repeat], variation: Sequence[ProcessVariation] = (), instability: str = ""
) -> Time:
    """Combine one repeat or more. variation: of such processes, from other sources."""
    medians = [repeat.median_ns for repeat in repeats]
    if not all(map(is_valid_repeat, repeats)):
        return Time(statistics.median(medians), processes=len(medians), instability=instability)
    found = compute_cell_interval(repeats, variation)
    return Time(
        statistics.median(medians),
        found.low_ns if found else None,
        found.high_ns if found else None,
        processes=len(medians),
        spread=max(medians) / min(medians),
        source=found.source if found else "",
        instability=instability,
    )


def add_times(times: Sequence[Time]) -> Time:
    """Sum the parts of a model family; bounds add, as if all errors had the same sign."""
    bounds = [time.bounds for time in times if time.bounds]
    is_whole = len(bounds) == len(times)
    return Time(
        sum(time.median_ns for time in times),
        sum(low_ns for low_ns, _ in bounds) if is_whole else None,
        sum(high_ns for _, high_ns in bounds) if is_whole else None,
        processes=min(time.processes for time in times),
        spread=max(time.spread for time in times),
        source=next((time.source for time in times if time.source), ""),
        instability=next((time.instability for time in times if time.instability), ""),
    )


def read_repeats(rows: Sequence[TaskRow], phase: str) -> list[Repeat]:
    return [repeat for row in rows if (repeat := read_repeat(row, phase))]


def read_repeat(row: TaskRow, phase: str) -> Repeat | None:
    """Return a row's median and bounds, the median alone if it has too few samples for bounds."""
    median, low, high = (row.ns(phase, bound) for bound in ("median", "low", "high"))
    samples = row.number(f"{phase}_samples")
    return None if median is None else make_repeat(median, low, high, samples)


def make_repeat(
    median: float, low: float | None, high: float | None, samples: float | None
) -> Repeat:
    """Return a process's median with its bounds, or alone if samples are too few for bounds."""
    if low is None or high is None or (samples is not None and samples < FEWEST):
        return Repeat(median, median, median)
    return Repeat(median, low, high)


def is_valid_repeat(repeat: Repeat) -> bool:
    """Return True if a clock can measure these times and their logarithms exist."""
    return 0 < repeat.low_ns <= repeat.median_ns <= repeat.high_ns < math.inf


def describe_instability(rows: Sequence[TaskRow], phase: str) -> str:
    """Explain why processes of a cell are unstable; empty if each is stable by its own samples."""
    reasons = Counter(
        INSTABILITY.get(row.text(f"{phase}_instability"), UNKNOWN_INSTABILITY)
        for row in rows
        if not _is_stable(row, phase)
    )
    shares = {text: f" ({count} of {len(rows)} processes)" for text, count in reasons.items()}
    return "; ".join(
        text + (shares[text] if len(rows) > 1 else "") for text, _ in reasons.most_common()
    )


def _is_stable(row: TaskRow, phase: str) -> bool:
    """Return True if the phase's samples are stable.

    The task's own stability is that of its gradient; old rows know no other.
    """
    own = None if phase == "gradient" else getattr(row, f"{phase}_stable")
    return bool(row.stable if own is None else own)


def format_uncertainty(time: Time) -> str:
    """Format as `±1.2%`, `±1.2% by sweeps` or `by canaries`, else `spread 3.4%` or `1 process`."""
    width = time.half_width
    if width is not None:
        return format_width(width, time.source)
    return f"spread {format_spread(time.spread)}" if time.processes > 1 else ONE_PROCESS


def format_width(width: float, source: str) -> str:
    """Format half of an interval, over its median. source: of the interval, as a Time has it."""
    *_, short = source.split() or [""]  # without the number of `6 sweeps`
    return f"±{_format_percent(width)}{f' by {short}' if short else ''}"


def format_duration(ns: float) -> str:
    """Format with three figures and a fitting unit: 812 us, 3.21 ms, 1.05 s."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{_format_figures(ns / size)} {unit}"
    return f"{ns:.0f} ns"


def format_time(time: Time) -> str:
    """Format the median and its uncertainty, the median alone for one process."""
    uncertainty = format_uncertainty(time)
    suffix = f" {uncertainty}" if uncertainty != ONE_PROCESS else ""
    return format_duration(time.median_ns) + suffix


def _format_figures(value: float) -> str:
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def describe_interval(time: Time) -> str:
    """Describe the source of the interval, or the reason for none."""
    if time.bounds is not None:
        return time.source or f"{time.processes} processes"
    if time.processes == 1:
        return f"none: {ONE_PROCESS}"
    return f"none: {time.processes} processes, spread {format_spread(time.spread)}"


def _format_percent(share: float) -> str:
    """Format as `1.2%`, without decimals from 10 % on."""
    return f"{100 * share:.0f}%" if share >= 0.1 else f"{100 * share:.1f}%"
