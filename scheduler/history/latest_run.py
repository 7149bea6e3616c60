"""Findings of the latest nightly run, before and after confirmation. Pure.

A finding is reported once: later runs are compared with a confirmed step, and a failing cell alarms
on its first run. Steps in both directions are reported; only slower and failing cells alarm. An
unstable run is judged like others, with a larger error.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from velodrome.scheduler.history.anomalies import RECENT, Series, Suspicion, known_steps, suspicion
from velodrome.scheduler.history.autocorrelation import dependences
from velodrome.scheduler.history.cell_series import PHASES, Condition, History, NodeCell, Point
from velodrome.scheduler.history.changepoints import MOST_NIGHTS, cautious_bounds, spread_around
from velodrome.scheduler.history.minimum_detectable_change import detectable
from velodrome.scheduler.history.quarantine import IN_A_ROW, Moved, moved, quarantined_since
from velodrome.scheduler.history.variance_pooling import priors

PROMISED = 0.05  # share of nights that may raise a false alarm, over all cells together
# Student's tails are thinner than those of computers: what is promised at 5 % is tested at 2 %.
TESTED_AT = 0.02


class Kind(StrEnum):
    """The kind of a finding."""

    SLOWER = "slower"
    FASTER = "faster"
    FAILS = "fails"


class Proof(StrEnum):
    """The result of measuring again on the same node."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    OPEN = "not measured again"


@dataclass(frozen=True)
class Finding:
    """A step or failure. since: its first run. ratio: now over before, 1 for a failure.

    reason: of a failure. before: the runs it is compared with. again: the ratio of the second
    measurement, if any.
    """

    kind: Kind
    phase: str
    proof: Proof
    since: Point
    ratio: float = 1.0
    reason: str = ""
    before: tuple[Point, ...] = ()
    again: float | None = None


@dataclass(frozen=True)
class Watched:
    """A cell after a run, with a finding for each phase that has one.

    quarantined: the run that put it into quarantine. moved: its change since, if in quarantine.
    detectable: by phase, the minimum detectable change. series: by phase.
    """

    cell: NodeCell
    points: tuple[Point, ...]
    findings: tuple[Finding, ...] = ()
    quarantined: Point | None = None
    detectable: tuple[tuple[str, float | None], ...] = ()
    series: Mapping[str, Series] = field(default_factory=dict)
    moved: Moved | None = None

    @property
    def tonight(self) -> Point:
        return self.points[-1]

    @property
    def finding(self) -> Finding | None:
        """The first finding by the order of PHASES."""
        return self.findings[0] if self.findings else None

    @property
    def bad_nights(self) -> int:
        """The number of runs in quarantine, including those that caused it."""
        if self.quarantined is None:
            return 0
        return len(self.points) - self.points.index(self.quarantined) + IN_A_ROW - 1

    @property
    def told(self) -> tuple[Finding, ...]:
        """The reported findings: quarantine hides failures, but not steps."""
        return tuple(
            one for one in self.findings if not self.quarantined or one.kind is not Kind.FAILS
        )

    @property
    def is_alarm(self) -> bool:
        """True for a confirmed regression."""
        return any(
            found.proof is Proof.CONFIRMED and found.kind is not Kind.FASTER for found in self.told
        )

    @property
    def is_open(self) -> bool:
        """True if it should be measured again."""
        return any(one.proof is Proof.OPEN for one in self.told)


@dataclass(frozen=True)
class RunVerdict:
    """The verdict on one run, over all its cells. rate: of false suspicions per series."""

    sweep_id: str
    rate: float
    watched: tuple[Watched, ...]

    @cached_property
    def alarms(self) -> tuple[Watched, ...]:
        return tuple(one for one in self.watched if one.is_alarm)

    @cached_property
    def open(self) -> tuple[Watched, ...]:
        return tuple(one for one in self.watched if one.is_open)


def judge(history: History, sweep_id: str, tested_at: float = TESTED_AT) -> RunVerdict:
    """Judge the run of this sweep; later runs are ignored."""
    known = {cell: _until(points, sweep_id) for cell, points in history.items()}
    measured = {cell: points for cell, points in known.items() if points}
    rate = rate_of(measured, tested_at)
    return RunVerdict(sweep_id, rate, watched(measured, rate))


def rate_of(measured: History, tested_at: float = TESTED_AT) -> float:
    """Return the false-suspicion rate per series that gives `tested_at` over all."""
    return tested_at / max(1, sum(len(points[-1].first) for points in measured.values()))


def _until(points: tuple[Point, ...], sweep_id: str) -> tuple[Point, ...]:
    """Cut after this run; empty if the run did not measure the cell."""
    at = next((i for i, point in enumerate(points) if point.sweep_id == sweep_id), None)
    return () if at is None else points[: at + 1]


def watched(histories: History, rate: float) -> tuple[Watched, ...]:
    """Judge each cell after its last run; variances come from all cells."""
    serial = {
        (cell, phase): series_of(points, phase)
        for cell, points in histories.items()
        for phase in PHASES
        if having(points, phase)
    }
    whose = [cell for cell, _ in serial]
    moderated = dict(zip(serial, with_others(whose, tuple(serial.values()), rate), strict=True))
    return tuple(
        _watched(
            cell,
            points,
            {phase: moderated[cell, phase] for phase in PHASES if (cell, phase) in moderated},
            rate,
        )
        for cell, points in histories.items()
    )


def _watched(
    cell: NodeCell, points: tuple[Point, ...], serial: Mapping[str, Series], rate: float
) -> Watched:
    since = quarantined_since(point.condition for point in points)
    return Watched(
        cell,
        points,
        _findings(points, serial, rate),
        None if since is None else points[since],
        tuple((phase, detectable(series, rate)) for phase, series in serial.items()),
        serial,
        None if since is None else _moved(serial, since + 1 - IN_A_ROW),
    )


def _moved(serial: Mapping[str, Series], since: int) -> Moved | None:
    found = (moved(phase, series, since) for phase, series in serial.items())
    return next((one for one in found if one), None)


def with_others(
    cells: Sequence[NodeCell], serial: Sequence[Series], rate: float
) -> tuple[Series, ...]:
    """Add what all series tell of each, without the last runs, which are in question."""
    usual = [one.levels[-MOST_NIGHTS:][:-RECENT] or one.levels[:1] for one in serial]
    bounds = [cautious_bounds(levels, rate) for levels in usual]
    found = dependences(list(zip(usual, bounds, strict=True)))
    spreads = [
        spread_around(levels, ends, one)
        for levels, ends, one in zip(usual, bounds, found, strict=True)
    ]
    return tuple(
        replace(one, dependence=dependence, prior=prior)
        for one, dependence, prior in zip(serial, found, priors(cells, spreads), strict=True)
    )


def _findings(
    points: tuple[Point, ...], serial: Mapping[str, Series], rate: float
) -> tuple[Finding, ...]:
    tonight = points[-1]
    if tonight.condition is Condition.FAILED:
        return _failure(points)
    known = known_steps(serial, rate)
    found = [
        _step(points, phase, suspicion(series.until(len(series.levels) - 1), known[phase], rate))
        for phase, series in serial.items()
        if phase in tonight.first
    ]
    return tuple(one for one in found if one)


def _failure(points: tuple[Point, ...]) -> tuple[Finding, ...]:
    """Report a failure if the cell had a number before and did not fail in the run before."""
    *earlier, tonight = points
    had_number = any(point.levels for point in earlier)
    if not had_number or earlier[-1].condition is Condition.FAILED:
        return ()
    proof = Proof.CONFIRMED if tonight.failed_again else Proof.OPEN
    proof = Proof.CONTRADICTED if tonight.again else proof
    return (Finding(Kind.FAILS, "", proof, tonight, reason=tonight.reason, before=(earlier[-1],)),)


def _step(points: tuple[Point, ...], phase: str, seen: Suspicion | None) -> Finding | None:
    if seen is None:
        return None
    nights = having(points, phase)
    again = points[-1].again.get(phase)
    return Finding(
        Kind.SLOWER if seen.ratio > 1 else Kind.FASTER,
        phase,
        _proof(seen, again),
        nights[seen.onset],
        seen.ratio,
        before=tuple(nights[slice(*seen.compared)]),
        again=None if again is None else math.exp(again - seen.before),
    )


def _proof(seen: Suspicion, again: float | None) -> Proof:
    if again is None:
        return Proof.OPEN
    return Proof.CONFIRMED if seen.is_confirmed_by(again) else Proof.CONTRADICTED


def having(points: Sequence[Point], phase: str) -> tuple[Point, ...]:
    """Select the runs with a number of this phase."""
    return tuple(point for point in points if phase in point.first)


def series_of(points: Sequence[Point], phase: str) -> Series:
    """Build the series of the runs that have the phase."""
    there = [(place, point) for place, point in enumerate(points) if phase in point.first]
    return Series(
        tuple(point.levels[phase] for _, point in there),
        tuple(point.first[phase] for _, point in there),
        tuple(point.again.get(phase) for _, point in there),
        tuple(point.errors.get(phase, 0.0) for _, point in there),
        tuple(place for place, _ in there),
    )
