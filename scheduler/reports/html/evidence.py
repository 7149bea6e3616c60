"""All that is known of one cell, in words: what stands behind its number, or behind its reason."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import CANNOT_TELL, FAILED, IMPOSSIBLE, PASSED
from velodrome.agents.safe_text import sanitize
from velodrome.scheduler.reports.cell_keys import Implementation, Platform, Workload
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.fairness import describe_kernels, read_layout, read_precision
from velodrome.scheduler.reports.html.check_lines import Check, CheckLine, check_lines
from velodrome.scheduler.reports.html.formatting import (
    counted,
    format_hardware,
    format_platform,
    format_workload,
    interval,
    listed,
    shown_duration,
    size,
)
from velodrome.scheduler.reports.html.published import NOT_GIVEN, NOT_IN_STUDY, published
from velodrome.scheduler.reports.proof import NOT_KEPT, spell_out
from velodrome.scheduler.reports.task_rows import Row, read_rerun_command
from velodrome.scheduler.results.sanitizing import in_one_line

LOG_LINES = 25
LOG_CHARACTERS = 2000
PHASES = ("forward", "gradient")
_OUTCOMES = {FAILED: "failed", CANNOT_TELL: "could not tell", IMPOSSIBLE: "impossible"}


@dataclass(frozen=True)
class CellEvidence:
    """facts: name and text, those that were measured. id: of its element in the page."""

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

    @property
    def has_unproved(self) -> bool:
        return any(line.outcome != PASSED for line in self.checks)


def evidence(
    number: int,
    platform: Platform,
    workload: Workload,
    impl: Implementation,
    cell: CellResult,
    rows: Sequence[Row],
    checks: Sequence[Sequence[Check]] = (),
) -> CellEvidence:
    """Of a cell and the rows that it is of. checks: of the runs that kept any."""
    told = next((row for row in rows if read_rerun_command(row["rerun"]) == cell.rerun), rows[0])
    return CellEvidence(
        id=f"cell-{number}",
        title=f"{impl.label}: {format_workload(workload)}",
        where=f"{format_hardware(platform)}, {format_platform(platform)}",
        status=cell.status.value.replace("_", " "),
        facts=(*_times(cell, rows), *_study(platform, workload, impl), *_facts(cell, rows)),
        reason=cell.reason,
        expected=cell.expected,
        rerun=cell.rerun,
        log_tail="" if cell.with_number else shortened(str(told.get("log_tail") or "")),
        notes=cell.notes,
        checks=check_lines(checks),
    )


def shortened(log: str) -> str:
    """The last lines, without what could do harm in a terminal that they are pasted into."""
    lines = sanitize(log[-4 * LOG_CHARACTERS :]).splitlines()[-LOG_LINES:]
    return "\n".join(lines)[-LOG_CHARACTERS:]


def _times(cell: CellResult, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    for phase in PHASES:
        time = getattr(cell, phase)
        if time is None:
            continue
        samples = sum(int(str(row.get(f"{phase}_samples") or 0)) for row in rows)
        processes = counted(cell.with_number, "process", "processes")
        told = f" ({counted(samples, 'sample')} in {processes})" if samples else f" ({processes})"
        yield f"{phase} time", interval(time) + told


def _study(
    platform: Platform, workload: Workload, impl: Implementation
) -> Iterator[tuple[str, str]]:
    """Only where it is the same cell: the same framework, model, batch size and kind of device."""
    study = published()
    if platform.device != study.device:
        return
    for phase in PHASES:
        text = study.text(impl.framework, workload.model, workload.batch_size, phase)
        if text not in (NOT_GIVEN, NOT_IN_STUDY):
            told = f"{text} by {study.name(impl.framework)} on {study.machine}; another definition"
            yield f"the study's {phase} time", told


def _facts(cell: CellResult, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    for name, say in _TOLD.items():
        if text := say(cell, rows):
            yield name, text


def _errors(cell: CellResult, rows: Sequence[Row]) -> str:
    gradient = cell.gradient_error
    if gradient is None:
        return ""
    loss = _largest(rows, "loss_error")
    told = f"largest gradient error {gradient:.1e} of its norm"
    return f"{told}, loss error {loss:.1e}" if loss is not None else told


def _checks(cell: CellResult, rows: Sequence[Row]) -> str:
    """By outcome; what each found stands in a table of its own."""
    proof = cell.proof
    told = [f"{len(proof.proved)} passed" if proof.proved else ""]
    for outcome, said in _OUTCOMES.items():
        names = ", ".join(map(spell_out, proof.names(outcome)))
        told.append(f"{said}: {names}" if names else "")
    runs = counted(proof.without_checks, "run")
    told.append(f"{runs} {NOT_KEPT}" if proof.without_checks else "")
    return "; ".join(filter(None, told))


def _settled(cell: CellResult, rows: Sequence[Row]) -> str:
    if not cell.with_number:
        return ""
    if cell.is_stable:
        return f"steady: {listed(_distinct(rows, 'stop_reason'))}".rstrip(": ")
    more = f"; {counted(cell.more_repeats, 'more repeat')} should do" if cell.more_repeats else ""
    phases = ((phase, getattr(cell, phase)) for phase in PHASES)
    instabilities = [
        f"{phase}: {time.instability}" for phase, time in phases if time and time.instability
    ]
    return f"not steady: {'; '.join(instabilities)}".rstrip(": ") + more


def _first(column: str) -> Callable[[CellResult, Sequence[Row]], str]:
    """The longest over the repeats: a cache that one filled makes the others short."""

    def say(cell: CellResult, rows: Sequence[Row]) -> str:
        longest = _largest(rows, column)
        return "" if longest is None else f"{shown_duration(longest)} at most"

    return say


def _memory(column: str) -> Callable[[CellResult, Sequence[Row]], str]:
    def say(cell: CellResult, rows: Sequence[Row]) -> str:
        peak = _largest(rows, column)
        return size(peak) if peak else ""

    return say


def _cores(cell: CellResult, rows: Sequence[Row]) -> str:
    percent = cell.cpu_percent_mean
    return "" if percent is None else f"{percent / 100:.2f} on average while timed"


def _energy(cell: CellResult, rows: Sequence[Row]) -> str:
    most = _largest(rows, "energy_per_gradient_j")
    if most is None:
        return listed(_distinct(rows, "energy_reason"), 2)
    return f"{most:.3g} J a gradient at most ({listed(_distinct(rows, 'energy_source'))})"


def _efficiency(cell: CellResult, rows: Sequence[Row]) -> str:
    best = _largest(rows, "gradient_efficiency")
    if best is None:
        return ""
    by = listed(_distinct(rows, "ceiling_source"), 2)
    return f"{100 * best:.0f} % of the node's measured ceiling{f' ({by})' if by else ''}"


def _quiet(cell: CellResult, rows: Sequence[Row]) -> str:
    known = [
        row.get("interference_free") for row in rows if row.get("interference_free") is not None
    ]
    if not known:
        return ""
    disturbed = [row for row in rows if row.get("interference_free") is False]
    if not disturbed:
        return "interference-free"
    by = listed(_distinct(disturbed, "interference"), 3)
    return f"{len(disturbed)} of {len(rows)} disturbed{f': {by}' if by else ''}"


def _canary(cell: CellResult, rows: Sequence[Row]) -> str:
    """How the same tiny model ran before and after: what moves with it, the machine moved."""
    pairs = [(row.get("canary_before_ns"), row.get("canary_after_ns")) for row in rows]
    known = [(float(str(before)), float(str(after))) for before, after in pairs if before and after]
    if not known:
        return ""
    ratio = max((after / before for before, after in known), key=lambda one: abs(one - 1))
    return f"{shown_duration(known[0][0])} before, at most {100 * (ratio - 1):+.1f} % after"


def _names(*columns: str) -> Callable[[CellResult, Sequence[Row]], str]:
    def say(cell: CellResult, rows: Sequence[Row]) -> str:
        return listed([name for column in columns for name in _distinct(rows, column)], 4)

    return say


def _said(tell: Callable[[Row], str]) -> Callable[[CellResult, Sequence[Row]], str]:
    return lambda cell, rows: listed(list(dict.fromkeys(map(tell, rows))))


def _distinct(rows: Iterable[Row], column: str) -> list[str]:
    texts = (in_one_line(row.get(column)) for row in rows)
    return list(dict.fromkeys(text for text in texts if text))


def _largest(rows: Iterable[Row], column: str) -> float | None:
    values = (row.get(column) for row in rows)
    return max((float(str(value)) for value in values if value is not None), default=None)


_TOLD: dict[str, Callable[[CellResult, Sequence[Row]], str]] = {
    "proof": _errors,
    "checks": _checks,
    "timing": _settled,
    "version": _names("framework_version"),
    "computes in": _said(read_precision),
    "layout": _said(read_layout),
    "BLAS kernels": _said(describe_kernels),
    "first call": _first("first_call_ns"),
    "build": _first("build_ns"),
    "import": _first("import_ns"),
    "peak memory": _memory("peak_rss_bytes"),
    "peak GPU memory": _memory("peak_gpu_memory_bytes"),
    "busy cores": _cores,
    "energy": _energy,
    "efficiency": _efficiency,
    "node": _names("hostname"),
    "around it": _quiet,
    "canary": _canary,
    "environment": _names("environment_hash"),
}
