"""Choice of the replication unit (process, pair or sweep) of a comparison, and its variance.

The unit follows from the sweeps alone, never from the times:

- both sides are of one sweep: the process, or, from FEWEST_PAIRS on, the pair of neighbours (the
  same repeat on the same node), whose difference is free of shared drift. With fewer pairs the lost
  degrees of freedom cost more than a drift of up to the noise of a process
  (benchmarks/comparison_power.py: 5 pairs find 3 % in 74 % of cases where 5 processes find it in
  83 %; 10 pairs and processes both in 97 %);
- else the sweep. The variance between sweeps is known from the cell's past on its nodes and from
  several sweeps on a side; with less than FEWEST_DEGREES there is no verdict.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from velodrome.scheduler.statistics.bimodality import Cut, find_best_cut, find_cut_among_sweeps
from velodrome.scheduler.statistics.contrasts import (
    Array,
    Contrast,
    ReplicationUnit,
    contrast_pairs,
    contrast_processes,
    contrast_sweeps,
)
from velodrome.scheduler.statistics.replication import Repeat

FEWEST_PAIRS = 8
FEWEST_DEGREES = 2.0  # of the variance between sweeps: 4 past ones have 2.25, 2 against 2 have 2
FEWEST_PAST = 4
ONE_PROCESS = "one process against one has no spread to compare with: give `repeats: 5`"

Repeats = Sequence[Repeat]


@dataclass(frozen=True)
class CellPast:
    """Processes of other sweeps, oldest first. nodes: per node, the processes of each sweep."""

    nodes: tuple[tuple[Repeats, ...], ...] = ()

    @property
    def sweeps(self) -> int:
        """The number of sweeps on the node that has the most."""
        return max(map(len, self.nodes), default=0)

    @property
    def groups(self) -> list[Array]:
        return [_take_logs(repeats) for sweeps in self.nodes for repeats in sweeps]


@dataclass(frozen=True)
class Evidence:
    """The data for one test. base_units, candidate_units: number of units.

    past_sweeps: number of sweeps behind the variance. unpaired, paired: both contrasts within a
    sweep; the unit says which one decides. floor: the least variance of a unit by its processes'
    own samples. reason: why there is no test. family: times that are moderated together.
    """

    base: tuple[Repeat, ...]
    candidate: tuple[Repeat, ...]
    unit: ReplicationUnit
    contrast: Contrast
    cut: Cut
    base_units: int
    candidate_units: int
    floor: float = 0.0
    past_sweeps: int = 0
    unpaired: Contrast | None = None
    paired: Contrast | None = None
    reason: str = ""
    family: str = ""

    def with_family(self, family: str) -> "Evidence":
        return replace(self, family=family)


def compare_within_sweep(
    base: Repeats,
    candidate: Repeats,
    pairs: Sequence[tuple[Repeat, Repeat]] = (),
    past: CellPast = CellPast(),
) -> Evidence:
    """Compare within one sweep. At least one repeat each. pairs: neighbours among them."""
    unpaired = contrast_processes(_take_logs(base), _take_logs(candidate))
    sides = [_take_logs([pair[side] for pair in pairs]) for side in (0, 1)]
    paired = contrast_pairs(*sides) if len(pairs) > 1 else None
    floor = statistics.fmean(repeat.error**2 for repeat in (*base, *candidate))
    found = Evidence(
        tuple(base),
        tuple(candidate),
        ReplicationUnit.PROCESS,
        unpaired,
        _find_clearer_cut(base, candidate, past),
        len(base),
        len(candidate),
        floor,
        unpaired=unpaired,
        paired=paired,
        reason="" if unpaired.degrees else ONE_PROCESS,
    )
    if paired is None or len(pairs) < FEWEST_PAIRS:
        return found
    count = len(pairs)
    return replace(
        found,
        unit=ReplicationUnit.PAIR,
        contrast=paired,
        floor=2 * floor,
        base_units=count,
        candidate_units=count,
    )


def compare_across_sweeps(
    base: Mapping[str, Repeats], candidate: Mapping[str, Repeats], past: CellPast = CellPast()
) -> Evidence:
    """Compare sweeps. base, candidate: the processes of each sweep, one or more."""
    levels = [
        np.array([_compute_level(each) for each in side.values()]) for side in (base, candidate)
    ]
    chains = [np.array([_compute_level(each) for each in sweeps]) for sweeps in past.nodes]
    contrast = contrast_sweeps(levels[0], levels[1], chains)
    sides = [[repeat for each in side.values() for repeat in each] for side in (base, candidate)]
    per_sweep = statistics.fmean(len(each) for each in (*base.values(), *candidate.values()))
    floor = statistics.fmean(repeat.error**2 for side in sides for repeat in side) / per_sweep
    return Evidence(
        tuple(sides[0]),
        tuple(sides[1]),
        ReplicationUnit.SWEEP,
        contrast,
        Cut(np.array(1.0), np.array(0.0)),
        len(base),
        len(candidate),
        floor,
        past.sweeps,
        reason="" if contrast.degrees >= FEWEST_DEGREES else _describe_missing_past(past.sweeps),
    )


def _describe_missing_past(sweeps: int) -> str:
    count = f"{sweeps} earlier" if sweeps else "no other"
    return (
        f"the variance between sweeps is unknown ({count} on its node): "
        f"it takes {FEWEST_PAST} other sweeps of the cell, or 2 on each side; "
        "or compare within one sweep"
    )


def _compute_level(repeats: Repeats) -> float:
    """Return a sweep's level: the log of the median over its processes."""
    return math.log(statistics.median(repeat.median_ns for repeat in repeats))


def _take_logs(repeats: Repeats) -> Array:
    return np.log([repeat.median_ns for repeat in repeats])


def _find_clearer_cut(base: Repeats, candidate: Repeats, past: CellPast) -> Cut:
    """Find the clearer cut, of both sides or of the past; p is corrected for two looks."""
    now = find_best_cut(_take_logs(base), _take_logs(candidate))
    groups = past.groups
    if not groups:
        return now
    then = find_cut_among_sweeps(groups)
    clearer = min(now, then, key=lambda cut: float(cut.p))
    return Cut(np.minimum(1.0, 2 * clearer.p), clearer.gap)
