"""The verdicts: each time of each cell, with those of all others in mind."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from velodrome.agents.measurement import Status
from velodrome.scheduler.comparison.matching import Pair
from velodrome.scheduler.comparison.replication_units import (
    NO_HISTORY,
    PHASES,
    History,
    evidence_of,
    repeat,
)
from velodrome.scheduler.reports.task_rows import Row, read_rerun_command
from velodrome.scheduler.results.sanitizing import in_one_line
from velodrome.scheduler.statistics import ratio_tests
from velodrome.scheduler.statistics.canary_attribution import Blame, blame
from velodrome.scheduler.statistics.ratio_tests import Comparison, Mean, Verdict, geometric_mean
from velodrome.scheduler.statistics.replication import Across, across

_OTHER = {"forward": "gradient", "gradient": "forward"}


@dataclass(frozen=True)
class Duel:
    """One phase of one cell. blame: of what moved, where the machine may be at fault."""

    pair: Pair
    phase: str
    base: Across
    candidate: Across
    comparison: Comparison
    blame: Blame | None = None

    @property
    def verdict(self) -> Verdict:
        return self.comparison.verdict

    @property
    def has_moved(self) -> bool:
        return self.verdict is not Verdict.UNDECIDED

    @property
    def size(self) -> float:
        """Of the change: the same for twice as slow and twice as fast."""
        return abs(math.log(self.comparison.ratio))

    @property
    def is_settled(self) -> bool:
        """Whether every process of both sides kept timing until its own interval was narrow."""
        name = "forward_stable" if self.phase == "forward" else "stable"
        rows = (*self.pair.base, *self.pair.candidate)
        return all(row.get(name) is not False for row in rows if repeat(row, self.phase))


class Turn(StrEnum):
    """How the outcome of a cell changed, time apart."""

    BROKE = "broke"
    MENDED = "mended"
    CHANGED = "changed"  # from one reason without a number to another


@dataclass(frozen=True)
class Change:
    """A cell whose status is another. base, candidate: in words. rerun: what shows it again."""

    pair: Pair
    turn: Turn
    base: str
    candidate: str
    reason: str
    rerun: str


def duels(
    pairs: Iterable[Pair],
    least: float,
    *,
    past: History = NO_HISTORY,
    alpha: float = ratio_tests.TESTED_AT,
) -> tuple[Duel, ...]:
    """Of every phase that both sides have timed; what moved first, the largest change first.

    Verdicts are corrected for how many there are (Holm). least: as comparing.compare has it.
    """
    known = [
        (pair, phase, found)
        for pair in pairs
        for phase in PHASES
        if (found := evidence_of(pair, phase, past)) is not None
    ]
    compared = ratio_tests.compare_all([found for *_, found in known], least=least, alpha=alpha)
    judged = (
        Duel(pair, phase, across(found.base), across(found.candidate), each)
        for (pair, phase, found), each in zip(known, compared, strict=True)
    )
    return tuple(sorted(judged, key=lambda duel: (not duel.has_moved, -duel.size)))


def with_blame(found: Sequence[Duel]) -> tuple[Duel, ...]:
    """The same; those that moved with what the canaries say of it."""
    return tuple(
        Duel(duel.pair, duel.phase, duel.base, duel.candidate, duel.comparison, _blame(duel))
        if duel.has_moved
        else duel
        for duel in found
    )


def means(found: Iterable[Duel]) -> dict[str, Mean]:
    """The geometric mean of the ratios, by phase."""
    known = list(found)
    by_phase = {
        phase: geometric_mean(duel.comparison for duel in known if duel.phase == phase)
        for phase in PHASES
    }
    return {phase: mean for phase, mean in by_phase.items() if mean is not None}


def changes(pairs: Iterable[Pair]) -> tuple[Change, ...]:
    """Cells that have a number on one side only, that fail otherwise, or in part."""
    return tuple(change for pair in pairs if (change := _change(pair)) is not None)


def numbers(rows: Sequence[Row]) -> int:
    """How many of a cell's repeats have a number."""
    return sum(Status(str(row["status"])).has_number for row in rows)


def state(rows: Sequence[Row]) -> str:
    """A cell's outcome in words: `ok`, `crashed`, `2 of 3 timed_out`."""
    told = _told(rows)
    if told is None:
        return "ok"
    without = len(rows) - numbers(rows)
    name = str(told["status"])
    return name if without == len(rows) else f"{without} of {len(rows)} {name}"


def _change(pair: Pair) -> Change | None:
    base, candidate = state(pair.base), state(pair.candidate)
    before, after = _told(pair.base), _told(pair.candidate)
    shares = [numbers(rows) / len(rows) for rows in (pair.base, pair.candidate)]
    is_alike = bool(shares[0]) == bool(shares[1])
    if is_alike and (before and before["status"]) == (after and after["status"]):
        return None
    told = after or before or pair.candidate[0]
    turn = (
        Turn.BROKE
        if shares[1] < shares[0]
        else Turn.MENDED
        if shares[1] > shares[0]
        else Turn.CHANGED
    )
    reason, rerun = in_one_line(told["reason"]), read_rerun_command(told["rerun"])
    return Change(pair, turn, base, candidate, reason, rerun)


def _told(rows: Sequence[Row]) -> Row | None:
    """The first repeat without a number; None if all have one."""
    return next((row for row in rows if not Status(str(row["status"])).has_number), None)


def _blame(duel: Duel) -> Blame:
    """blame() takes the gradient's time where there is one: the other phase is taken out."""
    hidden: Mapping[str, object] = {f"{_OTHER[duel.phase]}_median_ns": None}
    sides = ([{**row, **hidden} for row in rows] for rows in (duel.pair.base, duel.pair.candidate))
    return blame(*sides)
