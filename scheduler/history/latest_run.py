"""Findings of the latest nightly run, before and after confirmation. Pure.

A finding is reported once: later runs are compared with a confirmed step, and a failing cell raises
an alarm in its first run. Steps in both directions are reported; only slower and failing cells
raise an alarm. An unstable run is judged like others, with a larger error.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from velodrome.agents.phases import BY_IMPORTANCE
from velodrome.scheduler.history.anomalies import (
    RECENT,
    SuspectedStep,
    detect_step,
    find_confirmed_steps,
)
from velodrome.scheduler.history.autocorrelation import estimate_dependences
from velodrome.scheduler.history.cell_series import Condition, History, NodeCell, Point
from velodrome.scheduler.history.changepoints import (
    MOST_RUNS,
    estimate_spread,
    find_cautious_bounds,
)
from velodrome.scheduler.history.minimum_detectable_change import compute_detectable_change
from velodrome.scheduler.history.phase_series import Series, build_series, select_runs
from velodrome.scheduler.history.quarantine import Quarantine, find_quarantine
from velodrome.scheduler.history.variance_pooling import estimate_priors

PROMISED_RATE = 0.05  # share of runs that may raise a false alarm, over all cells together
# The times of computers have heavier tails than Student's t: a promise of 5 % is tested at 2 %.
TEST_RATE = 0.02


class Kind(StrEnum):
    """The kind of a finding."""

    SLOWER = "slower"
    FASTER = "faster"
    FAILS = "fails"


class Confirmation(StrEnum):
    """The result of measuring again on the same node."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    OPEN = "not measured again"


@dataclass(frozen=True)
class Finding:
    """A step or failure. since: its first run. ratio: now over before, 1 for a failure.

    reason: of a failure. before: the runs it is compared with. ratio_again: of the
    second measurement, if any.
    """

    kind: Kind
    phase: str
    confirmation: Confirmation
    since: Point
    ratio: float = 1.0
    reason: str = ""
    before: tuple[Point, ...] = ()
    ratio_again: float | None = None

    @property
    def is_confirmed(self) -> bool:
        return self.confirmation is Confirmation.CONFIRMED

    @property
    def is_alarm(self) -> bool:
        """True for a confirmed regression."""
        return self.is_confirmed and self.kind is not Kind.FASTER


@dataclass(frozen=True)
class CellVerdict:
    """The verdict on a cell after a run, with a finding for each phase that has one.

    detectable: by phase, the minimum detectable change. series: by phase.
    """

    cell: NodeCell
    points: tuple[Point, ...]
    findings: tuple[Finding, ...] = ()
    quarantine: Quarantine | None = None
    detectable: tuple[tuple[str, float | None], ...] = ()
    series: Mapping[str, Series] = field(default_factory=dict)

    @property
    def latest(self) -> Point:
        return self.points[-1]

    @property
    def finding(self) -> Finding | None:
        """The first finding by the order of BY_IMPORTANCE."""
        return self.findings[0] if self.findings else None

    @property
    def reported(self) -> tuple[Finding, ...]:
        """The reported findings: quarantine hides failures, but not steps."""
        is_silent = self.quarantine is not None
        return tuple(f for f in self.findings if not is_silent or f.kind is not Kind.FAILS)

    @property
    def is_confirmed(self) -> bool:
        return any(finding.is_confirmed for finding in self.reported)

    @property
    def is_alarm(self) -> bool:
        """True for a confirmed regression."""
        return any(finding.is_alarm for finding in self.reported)

    @property
    def is_unconfirmed(self) -> bool:
        """True if the cell should be measured again."""
        return any(finding.confirmation is Confirmation.OPEN for finding in self.reported)


@dataclass(frozen=True)
class RunVerdict:
    """The verdict on one run, over all its cells. rate: of false suspicions per series."""

    sweep_id: str
    rate: float
    cells: tuple[CellVerdict, ...]

    @cached_property
    def alarms(self) -> tuple[CellVerdict, ...]:
        return tuple(cell for cell in self.cells if cell.is_alarm)

    @cached_property
    def unconfirmed(self) -> tuple[CellVerdict, ...]:
        return tuple(cell for cell in self.cells if cell.is_unconfirmed)


def judge(history: History, sweep_id: str, test_rate: float = TEST_RATE) -> RunVerdict:
    """Judge the run of this sweep; later runs are ignored."""
    cut = {cell: _cut_after(points, sweep_id) for cell, points in history.items()}
    measured = {cell: points for cell, points in cut.items() if points}
    rate = compute_series_rate(measured, test_rate)
    return RunVerdict(sweep_id, rate, judge_cells(measured, rate))


def compute_series_rate(measured: History, test_rate: float = TEST_RATE) -> float:
    """Compute the false-positive rate per series that gives `test_rate` over all."""
    return test_rate / max(1, sum(len(points[-1].initial) for points in measured.values()))


def _cut_after(points: tuple[Point, ...], sweep_id: str) -> tuple[Point, ...]:
    """Cut after this run; empty if the run did not measure the cell."""
    at = next((i for i, point in enumerate(points) if point.sweep_id == sweep_id), None)
    return () if at is None else points[: at + 1]


def judge_cells(histories: History, rate: float) -> tuple[CellVerdict, ...]:
    """Judge each cell after its last run; variances come from all cells."""
    series = {
        (cell, phase): build_series(points, phase)
        for cell, points in histories.items()
        for phase in BY_IMPORTANCE
        if select_runs(points, phase)
    }
    cells = [cell for cell, _ in series]
    pooled = dict(zip(series, pool_series(cells, tuple(series.values()), rate), strict=True))
    return tuple(
        _judge_cell(
            cell,
            points,
            {phase: pooled[cell, phase] for phase in BY_IMPORTANCE if (cell, phase) in pooled},
            rate,
        )
        for cell, points in histories.items()
    )


def _judge_cell(
    cell: NodeCell, points: tuple[Point, ...], series: Mapping[str, Series], rate: float
) -> CellVerdict:
    return CellVerdict(
        cell,
        points,
        _list_findings(points, series, rate),
        find_quarantine(points, series),
        tuple((phase, compute_detectable_change(one, rate)) for phase, one in series.items()),
        series,
    )


def pool_series(
    cells: Sequence[NodeCell], series: Sequence[Series], rate: float
) -> tuple[Series, ...]:
    """Add to each series what all have in common, without the latest runs, which are judged."""
    usual = [one.levels[-MOST_RUNS:][:-RECENT] or one.levels[:1] for one in series]
    bounds = [find_cautious_bounds(levels, rate) for levels in usual]
    dependences = estimate_dependences(list(zip(usual, bounds, strict=True)))
    spreads = [
        estimate_spread(levels, ends, dependence)
        for levels, ends, dependence in zip(usual, bounds, dependences, strict=True)
    ]
    priors = estimate_priors(cells, spreads)
    return tuple(
        replace(one, dependence=dependence, prior=prior)
        for one, dependence, prior in zip(series, dependences, priors, strict=True)
    )


def _list_findings(
    points: tuple[Point, ...], series: Mapping[str, Series], rate: float
) -> tuple[Finding, ...]:
    latest = points[-1]
    if latest.condition is Condition.FAILED:
        return _describe_failure(points)
    last = find_confirmed_steps(series, rate)
    return tuple(
        _describe_step(points, phase, step)
        for phase, one in series.items()
        if phase in latest.initial
        and (step := detect_step(one.window_until(len(one.levels) - 1), last[phase], rate))
    )


def _describe_failure(points: tuple[Point, ...]) -> tuple[Finding, ...]:
    """Report a failure if the cell had a number before and did not fail in the run before."""
    *earlier, latest = points
    had_number = any(point.levels for point in earlier)
    if not had_number or earlier[-1].condition is Condition.FAILED:
        return ()
    result = Confirmation.CONFIRMED if latest.failed_twice else Confirmation.OPEN
    result = Confirmation.CONTRADICTED if latest.confirming else result
    return (Finding(Kind.FAILS, "", result, latest, 1.0, latest.reason, (earlier[-1],)),)


def _describe_step(points: tuple[Point, ...], phase: str, step: SuspectedStep) -> Finding:
    runs = select_runs(points, phase)
    again = points[-1].confirming.get(phase)
    return Finding(
        Kind.SLOWER if step.ratio > 1 else Kind.FASTER,
        phase,
        _compare_again(step, again),
        runs[step.onset],
        step.ratio,
        before=tuple(runs[slice(*step.compared)]),
        ratio_again=None if again is None else math.exp(again - step.before),
    )


def _compare_again(step: SuspectedStep, again: float | None) -> Confirmation:
    if again is None:
        return Confirmation.OPEN
    return Confirmation.CONFIRMED if step.is_confirmed_by(again) else Confirmation.CONTRADICTED
