"""The 95 % interval that the processes of a cell can claim, or none.

Of n processes the smallest and the largest median hold the median of all processes with
probability 1 - 2^(1 - n), whatever they are like: 95 % takes six (Hahn and Meeker, Statistical
Intervals (1991), section 5.2). Student's t says so of two, but only of processes of one kind: where
a machine or an allocator has two states, three processes are all of one kind in a quarter of cases
and more, and their spread is nothing. So from six processes on both intervals are taken, and the
wider end counts.

Of fewer, one must know otherwise how processes differ: from other sweeps of the same cell, or from
the canaries that ran around its tasks. From eight of those, the standard deviation of one process
is known with as many degrees of freedom less one; and no interval is narrower than what samples or
the processes themselves leave open.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.adapters.intervals import lower_rank
from velodrome.scheduler.statistics.replication import Repeat, across, spread, student

FEWEST = 6  # processes; 1 - 2 / 2^6 is 96.9 %
FEWEST_KNOWN = 8  # others; of 65 and 35 % of two kinds, all are of one in 3 of 100 cases
WIDEST = 1.0  # half of an interval over the median, above which it is none


@dataclass(frozen=True)
class Known:
    """How single processes differ: the variance of their logarithms. source: in words."""

    variance: float
    degrees: int
    source: str


@dataclass(frozen=True)
class Claim:
    """ns per call. source: where the variance is from; empty for the cell's own processes."""

    low_ns: float
    high_ns: float
    source: str = ""


def known(values: Iterable[float], source: str) -> Known | None:
    """Of times of single processes, each of a sweep or a canary of its own; None: too few."""
    logs = [math.log(value) for value in values if 0 < value < math.inf]
    if len(logs) < FEWEST_KNOWN:
        return None
    return Known(statistics.variance(logs), len(logs) - 1, source)


def claim(repeats: Sequence[Repeat], otherwise: Sequence[Known] = ()) -> Claim | None:
    """Of at least one repeat. otherwise: what is known besides; the first of it is used.

    None: nothing can be claimed, or so little that it is no interval (WIDEST).
    """
    found = _of_many(repeats) if len(repeats) >= FEWEST else _of_few(repeats, otherwise)
    return found if found and _half_width(repeats, found) <= WIDEST else None


def _of_many(repeats: Sequence[Repeat]) -> Claim:
    found = across(repeats)
    ordered = sorted(repeat.median_ns for repeat in repeats)
    rank = lower_rank(len(ordered))
    return Claim(min(found.low_ns, ordered[rank - 1]), max(found.high_ns, ordered[-rank]))


def _of_few(repeats: Sequence[Repeat], otherwise: Sequence[Known]) -> Claim | None:
    if not otherwise:
        return None
    first = otherwise[0]
    own = spread(repeats)
    variance = max(first.variance, own.variance)
    half = student(first.degrees) * math.sqrt(variance / own.count)
    low_ns, high_ns = math.exp(own.mean - half), math.exp(own.mean + half)
    if own.degrees:
        apart = across(repeats)
        low_ns, high_ns = min(low_ns, apart.low_ns), max(high_ns, apart.high_ns)
    return Claim(low_ns, high_ns, first.source)


def _half_width(repeats: Sequence[Repeat], found: Claim) -> float:
    median_ns = across(repeats).median_ns
    return max(found.high_ns - median_ns, median_ns - found.low_ns) / median_ns
