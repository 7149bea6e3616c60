"""The framework x model grid of one platform: a time in each cell, or the reason for none."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cell_keys import Implementation, Workload
from velodrome.scheduler.reports.cell_rates import CellValue, compute_value
from velodrome.scheduler.reports.cell_times import Time
from velodrome.scheduler.reports.cell_work import (
    GridUnit,
    list_line_units,
    name_cell_unit,
    name_line_unit,
)
from velodrome.scheduler.reports.cells import CellResult, list_shown_phases
from velodrome.scheduler.reports.html.cell_values import (
    choose_shade,
    find_best,
    format_ratio,
    show_value,
)
from velodrome.scheduler.reports.html.check_lines import Check
from velodrome.scheduler.reports.html.evidence import CellEvidence, collect_evidence
from velodrome.scheduler.reports.html.formatting import (
    format_hardware,
    format_platform,
    truncate,
)
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells
from velodrome.scheduler.reports.tables import choose_mark
from velodrome.scheduler.results.detail_rows import ParameterRow
from velodrome.scheduler.results.typed_rows import TaskRow

MARKS = {
    "verified": "✓",
    "itself": "≡",
    "unstable": "~",
    "failed": "✗",
    "expected": "-",
    "absent": "·",
}
NOT_HERE = "not in this sweep"
Run = tuple[str, int, int]  # task, repeat and attempt


@dataclass(frozen=True)
class GridCell:
    """One cell of the grid. evidence: the id of its details. shade: 0 for the best, or -1.

    against: ratio to the best of its line, with ≈ if the intervals overlap, or `best`.
    instability: why its time is not stable.
    """

    text: str
    mark: str
    detail: str = ""
    instability: str = ""
    against: str = ""
    shade: int = -1
    evidence: str = ""
    is_unexpected: bool = False
    span: int = 1  # lines that it covers; 0: covered by the line above

    @property
    def sign(self) -> str:
        return MARKS[self.mark]


@dataclass(frozen=True)
class GridLine:
    """One workload in one phase."""

    model: str
    batch_size: int
    phase: str
    places: tuple[GridCell, ...]
    span: int  # lines of its workload; 0 for all but the first
    rule: str = ""  # of its batch size


@dataclass(frozen=True)
class ColumnHead:
    """The head of one column. version: of the framework, or how many versions ran."""

    framework: str
    variant: str
    version: str


@dataclass(frozen=True)
class Grid:
    """The grid of one platform. title: the hardware; subtitle: device, threads and dtype."""

    id: str
    title: str
    subtitle: str
    heads: tuple[ColumnHead, ...]
    lines: tuple[GridLine, ...]
    evidence: tuple[CellEvidence, ...]
    cells: int
    with_number: int


Checks = Callable[[Iterable[str]], Sequence[TaskRow]]  # by task ids: rows with the column `checks`
Errors = Callable[[Iterable[str]], Sequence[ParameterRow]]  # by task ids: rows of `parameters`


def read_no_checks(task_ids: Iterable[str]) -> Sequence[TaskRow]:
    return ()


def read_no_errors(task_ids: Iterable[str]) -> Sequence[ParameterRow]:
    return ()


def build_grid(
    group: PlatformCells,
    number: int,
    first: int,
    room: int,
    checks: Checks = read_no_checks,
    unit: GridUnit = GridUnit.TIME,
    errors: Errors = read_no_errors,
) -> Grid:
    """Build a grid. first: the number of its first cell on the page. unit: of its cells.

    room: how many cells may have details; cells without a time go first.
    """
    down = {workload: place for place, workload in enumerate(group.workloads)}
    across = {impl: place for place, impl in enumerate(group.implementations)}
    in_order = sorted(group.rows, key=lambda place: (down[place[0]], across[place[1]]))
    detailed = sorted(in_order, key=lambda place: group.cells[place].with_number > 0)[:room]
    detailed_rows = [row for place in detailed for row in group.rows[place]]
    found = _read_checks(checks, detailed_rows)
    parameters = _read_errors(errors, detailed_rows)
    details = {
        (workload, impl): collect_evidence(
            cell_number,
            group.platform,
            workload,
            impl,
            group.cells[workload, impl],
            group.rows[workload, impl],
            [
                found[run]
                for row in group.rows[workload, impl]
                if (run := _identify_run(row)) in found
            ],
            [
                parameter
                for task_id in dict.fromkeys(row.task_id for row in group.rows[workload, impl])
                for parameter in parameters.get(task_id, ())
            ],
        )
        for cell_number, (workload, impl) in enumerate(detailed, first)
    }
    return Grid(
        id=f"grid-{number}",
        title=format_hardware(group.platform),
        subtitle=format_platform(group.platform),
        heads=_build_heads(group),
        lines=tuple(_build_lines(group, details, unit)),
        evidence=tuple(details.values()),
        cells=len(group.cells),
        with_number=group.with_number,
    )


def _read_checks(checks: Checks, rows: Sequence[TaskRow]) -> dict[Run, Sequence[Check]]:
    """Read the checks of the runs that recorded any."""
    found = checks(row.task_id for row in rows)
    return {_identify_run(row): entries for row in found if (entries := row.checks)}


def _read_errors(errors: Errors, rows: Sequence[TaskRow]) -> dict[str, list[ParameterRow]]:
    """Read the gradient errors by task; they are equal in all repeats that compute alike."""
    found: dict[str, list[ParameterRow]] = {}
    for parameter in errors(row.task_id for row in rows):
        found.setdefault(parameter.task_id, []).append(parameter)
    return found


def _identify_run(row: TaskRow) -> Run:
    return row.task_id, row.repeat, row.attempt


def _build_heads(group: PlatformCells) -> tuple[ColumnHead, ...]:
    versions: dict[Implementation, dict[str, None]] = {impl: {} for impl in group.implementations}
    for (_, impl), rows in group.rows.items():
        for row in rows:
            if version := row.framework_version:
                versions[impl][version] = None
    return tuple(
        ColumnHead(impl.framework, impl.variant, _format_version([*versions[impl]]))
        for impl in versions
    )


def _format_version(found: Sequence[str]) -> str:
    return found[0] if len(found) == 1 else f"{len(found)} versions" if found else ""


def find_fastest(group: PlatformCells, workload: Workload, phase: str) -> Time | None:
    """Return the time with the lowest median of a line, None if there is none."""
    times = [cell.time(phase) for _, cell in group.lines.get(workload, ())]
    timed = [time for time in times if time is not None]
    return min(timed, key=lambda time: time.median_ns, default=None)


def shorten_reason(cell: CellResult) -> str:
    return truncate(cell.reason) or "no reason recorded"


def _build_lines(
    group: PlatformCells,
    details: dict[tuple[Workload, Implementation], CellEvidence],
    unit: GridUnit,
) -> Iterator[GridLine]:
    implementations = group.implementations
    for workload in group.workloads:
        cells = [group.cells.get((workload, impl)) for impl in implementations]
        phases = list_shown_phases([cell for cell in cells if cell], unit)
        for phase in phases:
            best = find_best(cells, phase, unit)
            works = [cell.work for cell in cells if cell]
            is_mixed = len(list_line_units(works, unit)) > 1
            span = len(phases) if phase == phases[0] else 0
            places = [
                _cell(
                    cell,
                    phase,
                    best,
                    _find_id(details.get((workload, impl))),
                    span,
                    unit,
                    name_cell_unit(cell.work, unit) if is_mixed else "",
                )
                if cell
                else GridCell(NOT_HERE, "absent", span=span)
                for cell, impl in zip(cells, implementations, strict=True)
            ]
            shown = phase + name_line_unit(works, unit)
            yield GridLine(
                workload.model, workload.batch_size, shown, tuple(places), span, workload.rule
            )


def _find_id(details: CellEvidence | None) -> str:
    return details.id if details else ""


def _cell(
    cell: CellResult,
    phase: str,
    best: CellValue | None,
    evidence: str,
    span: int,
    unit: GridUnit,
    own_unit: str,
) -> GridCell:
    """Build a grid cell. span: of a text that holds for all phases of the workload.

    own_unit: of its value, if cells of its line have different ones.
    """
    time = cell.time(phase)
    if time is None:
        if cell.with_number:
            return GridCell(f"no {phase}", "absent", f"{phase} was not timed", evidence=evidence)
        mark = "failed" if cell.is_unexpected else "expected"
        status = cell.status.value.replace("_", " ")
        return GridCell(
            text=status,
            mark=mark,
            detail=shorten_reason(cell),
            evidence=evidence,
            is_unexpected=cell.is_unexpected,
            span=span,
        )
    found = compute_value(time, cell.work, phase, unit)
    text, uncertainty = show_value(time, found, cell.work, phase, unit)
    if found is None and not unit.is_of_times:  # its mark and instability would be the time's
        return GridCell(text, "absent", uncertainty, evidence=evidence)
    missing = cell.repeats - cell.with_number
    failed = f", {missing} of {cell.repeats} repeats {cell.status.value}" if missing else ""
    return GridCell(
        text=f"{text} {own_unit}".rstrip() if found else text,
        mark=choose_mark(cell, time),
        detail=uncertainty + failed,
        instability=time.instability,
        against=format_ratio(found, best),
        shade=choose_shade(found, best, unit),
        evidence=evidence,
        is_unexpected=cell.is_unexpected,
    )
