"""The summary of a nightly run on one screen: alarms first."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from velodrome.scheduler.history.latest_run import Confirmation, Kind
from velodrome.scheduler.nightly import phrases
from velodrome.scheduler.nightly.nightly_result import NightlyRun
from velodrome.scheduler.plans.durations import format_seconds

MOST = 5  # of a kind

_HEADS = (
    (Kind.SLOWER, Confirmation.CONFIRMED, "SLOWER"),
    (Kind.FAILS, Confirmation.CONFIRMED, "FAILS"),
    (Kind.FASTER, Confirmation.CONFIRMED, "faster"),
    (Kind.SLOWER, Confirmation.CONTRADICTED, "not confirmed"),
    (Kind.FAILS, Confirmation.CONTRADICTED, "not confirmed"),
    (Kind.FASTER, Confirmation.CONTRADICTED, "not confirmed"),
    (Kind.SLOWER, Confirmation.OPEN, "not measured again"),
    (Kind.FAILS, Confirmation.OPEN, "not measured again"),
    (Kind.FASTER, Confirmation.OPEN, "not measured again"),
)
"""Alarms first, then the other findings; only the first three are explained."""


def format_summary(run: NightlyRun) -> tuple[str, ...]:
    """Return lines without line ends; about twenty, more only if much is wrong."""
    return (
        _format_head(run),
        *(line for kind, state, head in _HEADS for line in _list_findings(run, kind, state, head)),
        *_list_unmeasured(run),
        *_list_vanished(run),
        *_list_quarantined(run),
        *phrases.format_no_regression(run),
        phrases.format_false_alarms(run),
        phrases.format_detectable(run),
        *_list_first(run.unreadable, "left out of the history", " files"),
    )


def _format_head(run: NightlyRun) -> str:
    cells = phrases.format_count(len(run.verdict.cells), "cell")
    nodes = phrases.format_count(len({cell.cell.node_id for cell in run.verdict.cells}), "node")
    budget = "" if math.isinf(run.budget_s) else f" of {format_seconds(run.budget_s)}"
    parts = [f"{run.left_out} repeats left out"] * bool(run.left_out)
    parts += [f"{run.unexpected} of {run.repeats} repeats with unexpected outcomes"] * bool(
        run.unexpected
    )
    parts += [f"NOISY: {phrases.format_noise(run)}"] * run.is_noisy
    head = f"nightly run {run.number} of {run.name}: {cells} on {nodes}"
    return "; ".join([f"{head} in {format_seconds(run.seconds)}{budget}", *parts])


def _list_findings(run: NightlyRun, kind: Kind, state: Confirmation, head: str) -> Iterator[str]:
    """List the first such finding of each cell."""
    findings = {
        verdict.cell: finding
        for verdict in run.verdict.cells
        for finding in reversed(verdict.reported)
        if (finding.kind, finding.confirmation) == (kind, state)
    }
    for cell, finding in islice(findings.items(), MOST):
        yield f"{head}  {run.names[cell]}: {phrases.format_finding(finding)}"
        yield f"    {phrases.format_confirmation(finding)}"
        if finding.is_confirmed:
            lines = phrases.format_explanation(run.explanations.get(cell))
            yield from (f"    {line}" for line in lines)
    if len(findings) > MOST:
        yield f"{head}  and {len(findings) - MOST} more"


def _list_unmeasured(run: NightlyRun) -> Iterator[str]:
    if not run.is_complete:
        yield phrases.format_incomplete(run)
    lines = [phrases.format_unmeasured(run, cell) for cell in run.unmeasured]
    yield from _list_first(lines, "no number", " cells")


def _list_vanished(run: NightlyRun) -> Iterator[str]:
    lines = [f"{run.names[vanished.cell]}: {vanished.reason}" for vanished in run.vanished]
    yield from _list_first(lines, "vanished")


def _list_quarantined(run: NightlyRun) -> Iterator[str]:
    lines = [
        f"{run.names[verdict.cell]}: {phrases.format_quarantine(verdict.quarantine)}"
        for verdict in run.verdict.cells
        if verdict.quarantine
    ]
    yield from _list_first(lines, "quarantine")


def _list_first(lines: Sequence[str], head: str, noun: str = "") -> Iterator[str]:
    """Yield the first MOST lines, and the number of the others."""
    yield from (f"{head}  {line}" for line in lines[:MOST])
    if len(lines) > MOST:
        yield f"{head}  and {len(lines) - MOST}{noun} more"
