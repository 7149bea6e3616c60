"""Phrases for findings, shared by the summary, the JUnit XML and the trend site."""

import math

from velodrome.scheduler.history.latest_run import PROMISED_RATE, Confirmation, Finding, Kind
from velodrome.scheduler.history.quarantine import LevelChange, Quarantine
from velodrome.scheduler.nightly.explanations import Explanation
from velodrome.scheduler.nightly.missing_cells import Unmeasured
from velodrome.scheduler.nightly.nightly_result import NightlyRun
from velodrome.scheduler.statistics.canary_attribution import ChangeSource


def format_count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_ratio(ratio: float) -> str:
    """Format a ratio of times: `+5.3 %`, or `2.1 times` from 2 on."""
    return f"{ratio:.1f} times" if ratio >= 2 else f"{100 * (ratio - 1):+.1f} %"


def format_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def format_finding(finding: Finding) -> str:
    """Format e.g. `gradient +5.3 % since 2026-11-20`."""
    since = f"since {finding.since.started_at:%Y-%m-%d}"
    if finding.kind is Kind.FAILS:
        return f"fails {since}: {finding.reason}"
    return f"{finding.phase} {format_ratio(finding.ratio)} {since}"


def format_confirmation(finding: Finding) -> str:
    """Describe the second measurement."""
    if finding.confirmation is Confirmation.OPEN:
        return "not measured again"
    if finding.kind is Kind.FAILS:
        return "failed again" if finding.is_confirmed else "measured again: it did not fail"
    return f"measured again on the same node: {format_ratio(finding.ratio_again or 1)}"


def format_explanation(explanation: Explanation | None) -> tuple[str, ...]:
    """Format a line with the cause, and one with the recorded changes."""
    if explanation is None:
        return ()
    attribution = explanation.attribution
    is_known = attribution.cause is not ChangeSource.UNKNOWN
    lines = [f"{attribution.cause}: {attribution.reason}"] if is_known else []
    causes = "; ".join(explanation.causes) or "no recorded change"
    return (*lines, f"what changed: {causes}")


def format_quarantine(quarantine: Quarantine) -> str:
    """Describe a quarantine: how long, since when, why, and the change meanwhile."""
    since, change = quarantine.since, _format_change(quarantine.change)
    length = f"{quarantine.runs} runs, since {since.started_at:%Y-%m-%d}"
    return f"in quarantine for {length}, {since.condition}; {change}"


def _format_change(change: LevelChange | None) -> str:
    if change is None:
        return "no numbers to compare before and since"
    ratio = format_ratio(math.exp(change.distance))
    has_bounds = not math.isinf(change.half_width)
    bounds = f" ± {format_percent(math.expm1(change.half_width))}" if has_bounds else ""
    return f"{change.phase} {ratio}{bounds} against the {change.runs_before} runs before"


def format_noise(run: NightlyRun) -> str:
    """Count cells that are unstable, had interference or are in quarantine; empty if none."""
    counts = {
        "unstable": run.unstable,
        "with interference": run.with_interference,
        "in quarantine": run.quarantined,
    }
    cells = len(run.verdict.cells)
    return ", ".join(
        f"{count} of {cells} cells {state}" for state, count in counts.items() if count
    )


def format_incomplete(run: NightlyRun) -> str:
    """Describe a run that measured less than its sweep promises."""
    if not run.measured:
        return f"NOTHING WAS MEASURED: none of {run.repeats} repeats has a number"
    missing = sum(cell.missing for cell in run.unmeasured)
    lost = sum(cell.is_promised for cell in run.vanished)
    parts = [f"{missing} of {run.repeats} repeats without a number"] * bool(missing)
    parts += [f"{format_count(lost, 'cell')} of the previous run missing"] * bool(lost)
    return f"INCOMPLETE: {'; '.join(parts)}"


def format_unmeasured(run: NightlyRun, cell: Unmeasured) -> str:
    """Format e.g. `torch[eager] lenet b64 cpu 1t on n1: crashed in 2 of 3 repeats: signal 11`."""
    part = "" if cell.repeats == 1 else f" in {cell.missing} of {cell.repeats} repeats"
    return f"{run.names[cell.cell]}: {cell.status}{part}: {cell.reason}"


def format_no_regression(run: NightlyRun) -> tuple[str, ...]:
    """State that no regression was found; empty if one was, or nothing was compared."""
    if run.verdict.alarms or not (run.is_complete or run.measured):
        return ()
    scope = "" if run.is_complete else " in what was measured"
    noise = format_noise(run)
    return (f"no regression{scope}" + f" distinguishable from noise: {noise}" * bool(noise),)


def format_false_alarms(run: NightlyRun) -> str:
    """State the estimated rate of false suspicions."""
    estimate = run.false_alarms
    if estimate.rate is None:
        return "false alarms: no estimate, because no cell has 8 runs"
    blocks = f" in blocks of {estimate.block}" if estimate.block > 1 else ""
    return (
        f"false alarms: of {estimate.resamples} runs that are resampled from the past{blocks} and "
        f"contain no change, {estimate.suspicious} are suspicious "
        f"({format_percent(estimate.rate)}; promised: at most {format_percent(PROMISED_RATE)}); a "
        "second measurement contradicts most of them"
    )


def format_detectable(run: NightlyRun) -> str:
    """State the smallest step that is found within three runs."""
    if run.detectable_range is None:
        return "minimum detectable change: unknown before 5 runs"
    least, middle, most = map(format_percent, run.detectable_range)
    return f"minimum detectable change within 3 runs: {least} to {most}, median {middle}"
