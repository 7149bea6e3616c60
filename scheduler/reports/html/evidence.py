"""The details of one cell on the page: facts behind its time, or behind the reason for none."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import (
    CANNOT_TELL,
    FAILED,
    IMPOSSIBLE,
    PASSED,
    TIMED_PHASES,
    USUAL_PHASES,
)
from velodrome.agents.safe_text import sanitize
from velodrome.scheduler.reports.cell_keys import Implementation, Platform, Workload
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.fairness import describe_kernels, read_layout, read_precision
from velodrome.scheduler.reports.html.cell_facts import (
    describe_cost,
    describe_efficiency,
    describe_energy,
    describe_mfu,
    find_largest,
    list_distinct,
)
from velodrome.scheduler.reports.html.check_lines import Check, CheckLine, build_check_lines
from velodrome.scheduler.reports.html.formatting import (
    format_hardware,
    format_platform,
    format_workload,
    join_names,
    show_count,
    show_duration,
    show_size,
)
from velodrome.scheduler.reports.html.phase_facts import (
    describe_first_step,
    list_times,
)
from velodrome.scheduler.reports.html.published import NOT_GIVEN, NOT_IN_STUDY, load_published
from velodrome.scheduler.reports.proof import NOT_RECORDED, spell_out
from velodrome.scheduler.reports.task_rows import read_rerun_command
from velodrome.scheduler.results.detail_rows import ParameterRow
from velodrome.scheduler.results.typed_rows import TaskRow

LOG_LINES = 25
LOG_CHARACTERS = 2000
_OUTCOMES = {FAILED: "failed", CANNOT_TELL: "inconclusive", IMPOSSIBLE: "not applicable"}


@dataclass(frozen=True)
class GradientError:
    """A gradient's error beside its tolerance, as texts. share: of the tolerance."""

    name: str
    error: str
    allowed: str
    share: str


@dataclass(frozen=True)
class CellEvidence:
    """The details of one cell. facts: name and text of each known one. id: of its element.

    errors: of the gradients that are nearest to their tolerance.
    """

    id: str
    title: str
    where: str
    status: str
    facts: tuple[tuple[str, str], ...]
    reason: str = ""
    expected: str = ""
    rerun: str = ""
    log_tail: str = ""
    notes: tuple[str, ...] = ()
    checks: tuple[CheckLine, ...] = ()
    errors: tuple[GradientError, ...] = ()

    @property
    def has_unproved(self) -> bool:
        return any(line.outcome != PASSED for line in self.checks)


def collect_evidence(
    number: int,
    platform: Platform,
    workload: Workload,
    impl: Implementation,
    cell: CellResult,
    rows: Sequence[TaskRow],
    checks: Sequence[Sequence[Check]] = (),
    errors: Sequence[ParameterRow] = (),
) -> CellEvidence:
    """Collect the facts of a cell from its rows. checks: of the runs that recorded any."""
    shown_row = next((row for row in rows if read_rerun_command(row.rerun) == cell.rerun), rows[0])
    return CellEvidence(
        id=f"cell-{number}",
        title=f"{impl.label}: {format_workload(workload)}",
        where=f"{format_hardware(platform)}, {format_platform(platform)}",
        status=cell.status.value.replace("_", " "),
        facts=(
            *list_times(cell, rows),
            *_list_study_times(platform, workload, impl),
            *_list_facts(cell, rows),
        ),
        reason=cell.reason,
        expected=cell.expected,
        rerun=cell.rerun,
        log_tail="" if cell.with_number else shorten_log(shown_row.log_tail),
        notes=cell.notes,
        checks=build_check_lines(checks),
        errors=tuple(map(_format_error, errors)),
    )


def _format_error(row: ParameterRow) -> GradientError:
    error, allowed = row.error or 0.0, row.allowed or math.inf
    known = math.isfinite(error)
    return GradientError(
        row.name,
        f"{error:.1e}" if known else "not a number",
        f"{allowed:.1e}",
        f"{100 * error / allowed:.0f} %" if known else "beyond",
    )


def shorten_log(log: str) -> str:
    """Return the last lines, without control characters: a reader may paste them."""
    lines = sanitize(log[-4 * LOG_CHARACTERS :]).splitlines()[-LOG_LINES:]
    return "\n".join(lines)[-LOG_CHARACTERS:]


def _list_study_times(
    platform: Platform, workload: Workload, impl: Implementation
) -> Iterator[tuple[str, str]]:
    """Yield the study's times for the same framework, model, batch size, device and precision."""
    study = load_published()
    if (platform.device, platform.dtype) != study.platform:
        return
    for phase in USUAL_PHASES:
        text = study.text(impl.framework, workload.model, workload.batch_size, phase)
        if text not in (NOT_GIVEN, NOT_IN_STUDY):
            name = study.name(impl.framework)
            yield f"study's {phase} time", f"{text} by {name} on {study.machine}; other definition"


def _list_facts(cell: CellResult, rows: Sequence[TaskRow]) -> Iterator[tuple[str, str]]:
    for name, describe in _FACTS.items():
        if text := describe(cell, rows):
            yield name, text


def _describe_errors(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    gradient = cell.gradient_error
    if gradient is None:
        return ""
    loss = find_largest(rows, "loss_error")
    text = f"largest gradient error {gradient:.1e} of its norm"
    return f"{text}, loss error {loss:.1e}" if loss is not None else text


def _describe_checks(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    """Name the checks by outcome; a table of its own has the findings."""
    proof = cell.proof
    parts = [f"{len(proof.proved)} passed" if proof.proved else ""]
    for outcome, word in _OUTCOMES.items():
        names = ", ".join(map(spell_out, proof.list_checks(outcome)))
        parts.append(f"{word}: {names}" if names else "")
    runs = show_count(proof.without_checks, "run")
    parts.append(f"{runs} {NOT_RECORDED}" if proof.without_checks else "")
    return "; ".join(filter(None, parts))


def _describe_stability(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    if not cell.with_number:
        return ""
    if cell.is_stable:
        return f"stable: {join_names(list_distinct(rows, 'stop_reason'))}".rstrip(": ")
    repeats = (
        f"; {show_count(cell.more_repeats, 'more repeat')} should be enough"
        if cell.more_repeats
        else ""
    )
    phases = ((phase, cell.time(phase)) for phase in TIMED_PHASES)
    reasons = [
        f"{phase}: {time.instability}" for phase, time in phases if time and time.instability
    ]
    return f"not stable: {'; '.join(reasons)}".rstrip(": ") + repeats


def _describe_largest(
    column: str, write: Callable[[float], str], suffix: str = ""
) -> Callable[[CellResult, Sequence[TaskRow]], str]:
    def describe(cell: CellResult, rows: Sequence[TaskRow]) -> str:
        largest = find_largest(rows, column)
        return write(largest) + suffix if largest else ""

    return describe


def _describe_cores(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    percent = cell.cpu_percent_mean
    return "" if percent is None else f"{percent / 100:.2f} on average during timing"


def _describe_noise(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    if all(row.interference_free is None for row in rows):
        return ""
    affected = [row for row in rows if row.interference_free is False]
    if not affected:
        return "none"
    by = join_names(list_distinct(affected, "interference"), 3)
    return f"in {len(affected)} of {len(rows)} runs{f': {by}' if by else ''}"


def _describe_canary(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    """Compare the canary before and after: a change in it is a change of the machine."""
    pairs = [(row.canary_before_ns, row.canary_after_ns) for row in rows]
    times = [(float(str(before)), float(str(after))) for before, after in pairs if before and after]
    if not times:
        return ""
    ratio = max((after / before for before, after in times), key=lambda ratio: abs(ratio - 1))
    return f"{show_duration(times[0][0])} before, at most {100 * (ratio - 1):+.1f} % after"


def _join_columns(*columns: str) -> Callable[[CellResult, Sequence[TaskRow]], str]:
    def describe(cell: CellResult, rows: Sequence[TaskRow]) -> str:
        return join_names([name for column in columns for name in list_distinct(rows, column)], 4)

    return describe


def _join_rows(read: Callable[[TaskRow], str]) -> Callable[[CellResult, Sequence[TaskRow]], str]:
    return lambda cell, rows: join_names(list(dict.fromkeys(map(read, rows))))


_FACTS: dict[str, Callable[[CellResult, Sequence[TaskRow]], str]] = {
    "proof": _describe_errors,
    "checks": _describe_checks,
    "timing": _describe_stability,
    "version": _join_columns("framework_version"),
    "computes in": _join_rows(read_precision),
    "layout": _join_rows(read_layout),
    "BLAS kernels": _join_rows(describe_kernels),
    "optimizer": _join_columns("optimizer"),
    "time to first step": describe_first_step,
    # Of several repeats the longest: a cache that one fills shortens the others.
    "first call": _describe_largest("first_call_ns", show_duration, " at most"),
    "build": _describe_largest("build_ns", show_duration, " at most"),
    "import": _describe_largest("import_ns", show_duration, " at most"),
    "peak memory": _describe_largest("peak_rss_bytes", show_size),
    "peak GPU memory": _describe_largest("peak_gpu_memory_bytes", show_size),
    "busy cores": _describe_cores,
    "energy": describe_energy,
    "efficiency": describe_efficiency,
    "MFU": describe_mfu,
    "cost": describe_cost,
    "node": _join_columns("hostname"),
    "interference": _describe_noise,
    "canary": _describe_canary,
    "environment": _join_columns("environment_hash"),
}
