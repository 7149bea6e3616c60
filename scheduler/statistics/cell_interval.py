"""The 95 % interval of a cell's median over processes, or none if it cannot be known.

The smallest and the largest median of n processes bracket the median of all processes with
probability 1 - 2^(1 - n), for any distribution: 95 % takes six (Hahn and Meeker, Statistical
Intervals (1991), section 5.2). Student's t gives an interval for two, but only for unimodal
processes: if a machine or an allocator has two states, three processes are in the same state in a
quarter of cases and more, and their spread is zero. So from six processes on both intervals are
computed, and the wider end counts.

With fewer processes, their variance must come from elsewhere: from other sweeps of the same cell,
or from the canaries around its tasks, at least six. The interval then covers three: Student's
around the processes, with the standard deviation and degrees of freedom of the others; the order
interval of the others' and its own medians, if the others are of this cell; and what the processes'
own samples and spread leave open. So it is wide if the others are bimodal or the cell has changed.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from velodrome.adapters.timing.intervals import find_lower_rank
from velodrome.scheduler.statistics.replication import (
    Repeat,
    combine_repeats,
    compute_spread,
    half_width_factor,
)

FEWEST = 6  # processes; 1 - 2 / 2^6 is 96.9 %
WIDEST = 1.0  # half of an interval over the median, above which it is none


@dataclass(frozen=True)
class ProcessVariation:
    """The variation of single processes, known from elsewhere. source: a description of where.

    deviation: of their logarithms. medians_ns: of processes of the same cell; empty for canaries.
    """

    deviation: float
    degrees: int
    source: str
    medians_ns: tuple[float, ...] = ()


@dataclass(frozen=True)
class CellInterval:
    """An interval in ns per call. source: of the variance; empty for the cell's own processes."""

    low_ns: float
    high_ns: float
    source: str = ""


def estimate_from_sweeps(medians_ns: Iterable[float]) -> ProcessVariation | None:
    """Return the variation of single processes of the cell, one per sweep; None: too few."""
    kept = tuple(value for value in medians_ns if 0 < value < math.inf)
    found = _estimate(kept, f"{len(kept)} other sweeps")
    return replace(found, medians_ns=kept) if found else None


def estimate_from_canaries(times_ns: Iterable[float]) -> ProcessVariation | None:
    """Return the variation of canaries, one per process; None: too few."""
    kept = tuple(value for value in times_ns if 0 < value < math.inf)
    return _estimate(kept, f"{len(kept)} canaries")


def _estimate(values: Sequence[float], source: str) -> ProcessVariation | None:
    if len(values) < FEWEST:
        return None
    return ProcessVariation(statistics.stdev(map(math.log, values)), len(values) - 1, source)


def compute_cell_interval(
    repeats: Sequence[Repeat], otherwise: Sequence[ProcessVariation] = ()
) -> CellInterval | None:
    """Compute the interval of one or more repeats; None if unknown or wider than WIDEST.

    otherwise: other knowledge of the variation; the first is used.
    """
    found = (
        _interval_of_many(repeats)
        if len(repeats) >= FEWEST
        else _interval_of_few(repeats, otherwise)
    )
    return found if found and _half_width(repeats, found) <= WIDEST else None


def _interval_of_many(repeats: Sequence[Repeat]) -> CellInterval:
    found = combine_repeats(repeats)
    low_ns, high_ns = _order_interval([repeat.median_ns for repeat in repeats])
    return CellInterval(min(found.low_ns, low_ns), max(found.high_ns, high_ns))


def _interval_of_few(
    repeats: Sequence[Repeat], otherwise: Sequence[ProcessVariation]
) -> CellInterval | None:
    if not otherwise:
        return None
    first = otherwise[0]
    own = compute_spread(repeats)
    half = half_width_factor(first.degrees) * max(first.deviation / math.sqrt(own.count), own.error)
    bounds = [math.exp(own.mean - half), math.exp(own.mean + half)]
    if own.degrees:
        apart = combine_repeats(repeats)
        bounds += [apart.low_ns, apart.high_ns]
    if first.medians_ns:
        bounds += _order_interval([*first.medians_ns, *(repeat.median_ns for repeat in repeats)])
    return CellInterval(min(bounds), max(bounds), first.source)


def _order_interval(medians_ns: Sequence[float]) -> tuple[float, float]:
    """Return the order-statistics interval of the median of at least six values."""
    ordered = sorted(medians_ns)
    rank = find_lower_rank(len(ordered))
    return ordered[rank - 1], ordered[-rank]


def _half_width(repeats: Sequence[Repeat], found: CellInterval) -> float:
    median_ns = combine_repeats(repeats).median_ns
    return max(found.high_ns - median_ns, median_ns - found.low_ns) / median_ns
