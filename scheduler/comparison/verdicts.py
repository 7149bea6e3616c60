"""Verdicts on every time of every cell, corrected for their number."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.scheduler.comparison import replication_units
from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.reports.task_rows import read_rerun_command
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics import ratio_tests
from velodrome.scheduler.statistics.canary_attribution import Attribution, attribute_change
from velodrome.scheduler.statistics.geometric_means import Mean, compute_geometric_mean
from velodrome.scheduler.statistics.ratio_tests import Comparison, Verdict
from velodrome.scheduler.statistics.replication import ReplicatedTime, combine_repeats


@dataclass(frozen=True)
class TimeComparison:
    """The comparison of one phase of one cell. attribution: of a move, if known."""

    pair: CellPair
    phase: str
    base: ReplicatedTime
    candidate: ReplicatedTime
    comparison: Comparison
    attribution: Attribution | None = None

    @property
    def verdict(self) -> Verdict:
        return self.comparison.verdict

    @property
    def has_moved(self) -> bool:
        return self.verdict is not Verdict.UNDECIDED

    @property
    def size(self) -> float:
        """The size of the change: the same for twice as slow and twice as fast."""
        return abs(math.log(self.comparison.ratio))

    @property
    def is_stable(self) -> bool:
        """True if every process of both sides reached a stable time."""
        timed = [
            row
            for row in (*self.pair.base, *self.pair.candidate)
            if replication_units.read_repeat(row, self.phase)
        ]
        if self.phase == "forward":
            return all(row.forward_stable is not False for row in timed)
        return all(row.stable is not False for row in timed)


class OutcomeTurn(StrEnum):
    """A change of a cell's outcome other than its time."""

    BROKE = "broke"
    MENDED = "mended"
    CHANGED = "changed"  # from one reason without a number to another


@dataclass(frozen=True)
class StatusChange:
    """A cell with another status. base, candidate: descriptions. rerun: repeats the run."""

    pair: CellPair
    turn: OutcomeTurn
    base: str
    candidate: str
    reason: str
    rerun: str


def compare_times(
    pairs: Iterable[CellPair],
    least: float,
    *,
    past: replication_units.PastRows = replication_units.NO_PAST,
    alpha: float = ratio_tests.TESTED_AT,
    read: replication_units.Reader = replication_units.read_repeat,
    read_past: replication_units.Reader | None = None,
) -> tuple[TimeComparison, ...]:
    """Compare every phase that both sides timed; moves first, the largest first.

    Verdicts are corrected for their number (Holm). least: as of ratio_tests.compare. read: of the
    compared quantity, in place of ns where it is no time; read_past: the same in other sweeps.
    """
    evidence = [
        (pair, phase, entry)
        for pair in pairs
        for phase in TIMED_PHASES
        if (entry := replication_units.collect_evidence(pair, phase, past, read, read_past))
        is not None
    ]
    compared = ratio_tests.compare_all([entry for *_, entry in evidence], least=least, alpha=alpha)
    judged = (
        TimeComparison(
            pair, phase, combine_repeats(entry.base), combine_repeats(entry.candidate), comparison
        )
        for (pair, phase, entry), comparison in zip(evidence, compared, strict=True)
    )
    return tuple(sorted(judged, key=lambda time: (not time.has_moved, -time.size)))


def attribute_moves(found: Sequence[TimeComparison]) -> tuple[TimeComparison, ...]:
    """Add the canaries' attribution to moves."""
    return tuple(
        TimeComparison(
            time.pair, time.phase, time.base, time.candidate, time.comparison, _attribute(time)
        )
        if time.has_moved
        else time
        for time in found
    )


def compute_means(found: Iterable[TimeComparison]) -> dict[str, Mean]:
    """Compute the geometric mean of the ratios, by phase."""
    times = list(found)
    by_phase = {
        phase: compute_geometric_mean(time.comparison for time in times if time.phase == phase)
        for phase in TIMED_PHASES
    }
    return {phase: mean for phase, mean in by_phase.items() if mean is not None}


def find_status_changes(pairs: Iterable[CellPair]) -> tuple[StatusChange, ...]:
    """List cells that have a number on one side only, fail differently, or fail in part."""
    return tuple(change for pair in pairs if (change := _find_change(pair)) is not None)


def count_numbers(rows: Sequence[TaskRow]) -> int:
    """Count a cell's repeats with a number."""
    return sum(row.has_number for row in rows)


def describe_outcome(rows: Sequence[TaskRow]) -> str:
    """Describe a cell's outcome: `ok`, `crashed`, `2 of 3 timed_out`."""
    failed = _find_failed(rows)
    if failed is None:
        return "ok"
    without = len(rows) - count_numbers(rows)
    name = failed.status
    return name if without == len(rows) else f"{without} of {len(rows)} {name}"


def _find_change(pair: CellPair) -> StatusChange | None:
    base, candidate = describe_outcome(pair.base), describe_outcome(pair.candidate)
    before, after = (_find_failed(pair.base), _find_failed(pair.candidate))
    shares = [count_numbers(rows) / len(rows) for rows in (pair.base, pair.candidate)]
    is_same = bool(shares[0]) == bool(shares[1])
    if is_same and (before and before.status) == (after and after.status):
        return None
    shown_row = after or before or pair.candidate[0]
    turn = (
        OutcomeTurn.BROKE
        if shares[1] < shares[0]
        else OutcomeTurn.MENDED
        if shares[1] > shares[0]
        else OutcomeTurn.CHANGED
    )
    reason, rerun = shown_row.reason, read_rerun_command(shown_row.rerun)
    return StatusChange(pair, turn, base, candidate, reason, rerun)


def _find_failed(rows: Sequence[TaskRow]) -> TaskRow | None:
    """Return the first repeat without a number; None if all have one."""
    return next((row for row in rows if not row.has_number), None)


def _attribute(time: TimeComparison) -> Attribution:
    """Attribute the move of this phase."""
    sides = (time.pair.base, time.pair.candidate)
    return attribute_change(*([row.canary_run(time.phase) for row in rows] for rows in sides))
