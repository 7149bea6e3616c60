"""The framework x model grid of one block: in every place a number, or the reason for none."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cell_keys import Implementation, Workload
from velodrome.scheduler.reports.cell_times import Time
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.check_lines import Check
from velodrome.scheduler.reports.html.evidence import CellEvidence, evidence
from velodrome.scheduler.reports.html.formatting import (
    cut,
    format_hardware,
    format_platform,
    shown_duration,
    spread,
)
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells
from velodrome.scheduler.reports.tables import PHASES, mark_of
from velodrome.scheduler.reports.task_rows import Row
from velodrome.scheduler.results.sanitizing import in_one_line

MARKS = {"verified": "✓", "unstable": "~", "failed": "✗", "expected": "-", "absent": "·"}
NOT_HERE = "not in this sweep"
NO_GRADIENT = "no gradient"
Run = tuple[object, object, object]  # task, repeat and attempt
SHADES = (1.1, 1.5, 2.5, 5.0)  # times the best, up to which a place has the next shade


@dataclass(frozen=True)
class GridCell:
    """One place. evidence: the id of what stands behind it. shade: 0 for the best, or -1.

    against: how far from the best of its line; `best`, or with ≈ where intervals overlap.
    doubt: why its time did not settle.
    """

    text: str
    mark: str
    detail: str = ""
    instability: str = ""
    against: str = ""
    shade: int = -1
    evidence: str = ""
    is_unexpected: bool = False
    span: int = 1  # lines that it stands in; 0: it stands in the line above

    @property
    def sign(self) -> str:
        return MARKS[self.mark]


@dataclass(frozen=True)
class GridLine:
    """One course in one phase."""

    model: str
    batch_size: int
    phase: str
    places: tuple[GridCell, ...]
    span: int  # lines of its course; 0 for all but the first


@dataclass(frozen=True)
class ColumnHead:
    """One column. version: of all that ran, if it is one."""

    framework: str
    variant: str
    version: str


@dataclass(frozen=True)
class Grid:
    """title: the hardware; subtitle: device, threads and type."""

    id: str
    title: str
    subtitle: str
    heads: tuple[ColumnHead, ...]
    lines: tuple[GridLine, ...]
    behind: tuple[CellEvidence, ...]
    cells: int
    with_number: int


Checks = Callable[[Iterable[str]], Sequence[Row]]  # by task ids: rows with the column `checks`


def no_checks(task_ids: Iterable[str]) -> Sequence[Row]:
    return ()


def grid(
    group: PlatformCells, number: int, first: int, room: int, checks: Checks = no_checks
) -> Grid:
    """Of a block that there is room for. first: the number of its first cell on the page.

    room: for how many cells what stands behind them may be told; those without a time go first.
    """
    down = {workload: place for place, workload in enumerate(group.workloads)}
    across = {impl: place for place, impl in enumerate(group.implementations)}
    in_order = sorted(group.rows, key=lambda place: (down[place[0]], across[place[1]]))
    told = sorted(in_order, key=lambda place: group.cells[place].with_number > 0)[:room]
    found = _checks_by_run(checks, [row for place in told for row in group.rows[place]])
    behind = {
        (workload, impl): evidence(
            cell_number,
            group.platform,
            workload,
            impl,
            group.cells[workload, impl],
            group.rows[workload, impl],
            [found[run] for row in group.rows[workload, impl] if (run := _run(row)) in found],
        )
        for cell_number, (workload, impl) in enumerate(told, first)
    }
    return Grid(
        id=f"grid-{number}",
        title=format_hardware(group.platform),
        subtitle=format_platform(group.platform),
        heads=heads(group),
        lines=tuple(_lines(group, behind)),
        behind=tuple(behind.values()),
        cells=len(group.cells),
        with_number=group.with_number,
    )


def _checks_by_run(checks: Checks, rows: Sequence[Row]) -> dict[Run, list[Check]]:
    """Of the runs that have any."""
    found = checks(str(row["task_id"]) for row in rows)
    return {_run(row): one for row in found if isinstance(one := row["checks"], list)}


def _run(row: Row) -> Run:
    return row["task_id"], row["repeat"], row["attempt"]


def heads(group: PlatformCells) -> tuple[ColumnHead, ...]:
    versions: dict[Implementation, dict[str, None]] = {impl: {} for impl in group.implementations}
    for (_, impl), rows in group.rows.items():
        for row in rows:
            if version := in_one_line(row.get("framework_version")):
                versions[impl][version] = None
    return tuple(
        ColumnHead(impl.framework, impl.variant, _version([*versions[impl]])) for impl in versions
    )


def _version(found: Sequence[str]) -> str:
    return found[0] if len(found) == 1 else f"{len(found)} versions" if found else ""


def lowest(group: PlatformCells, workload: Workload, phase: str) -> Time | None:
    """The time with the lowest median of a line."""
    times = [getattr(cell, phase) for _, cell in group.lines.get(workload, ())]
    known = [time for time in times if time is not None]
    return min(known, key=lambda time: time.median_ns, default=None)


def overlap(one: Time, other: Time) -> bool:
    """Whether both have an interval, and these meet: they do not say which is faster."""
    if one.bounds is None or other.bounds is None:
        return False
    return one.bounds[0] <= other.bounds[1] and other.bounds[0] <= one.bounds[1]


def are_apart(one: Time, other: Time) -> bool:
    """Whether both have an interval, and these share no value."""
    return one.bounds is not None and other.bounds is not None and not overlap(one, other)


def short_reason(cell: CellResult) -> str:
    return cut(cell.reason) or "no reason was given"


def _lines(
    group: PlatformCells, behind: dict[tuple[Workload, Implementation], CellEvidence]
) -> Iterator[GridLine]:
    implementations = group.implementations
    for workload in group.workloads:
        cells = [group.cells.get((workload, impl)) for impl in implementations]
        phases = [phase for phase in PHASES if any(cell and getattr(cell, phase) for cell in cells)]
        phases = phases or [PHASES[-1]]
        for phase in phases:
            best = lowest(group, workload, phase)
            span = len(phases) if phase == phases[0] else 0
            places = [
                _shown(cell, phase, best, _id(behind.get((workload, impl))), span)
                if cell
                else GridCell(NOT_HERE, "absent", span=span)
                for cell, impl in zip(cells, implementations, strict=True)
            ]
            yield GridLine(workload.model, workload.batch_size, phase, tuple(places), span)


def _id(behind: CellEvidence | None) -> str:
    return behind.id if behind else ""


def _shown(cell: CellResult, phase: str, best: Time | None, behind: str, span: int) -> GridCell:
    """span: of what holds for all phases of the course."""
    time: Time | None = getattr(cell, phase)
    if time is None or best is None:
        if cell.with_number:
            return GridCell(NO_GRADIENT, "absent", f"of {phase} nothing was timed", evidence=behind)
        mark = "failed" if cell.is_unexpected else "expected"
        status = cell.status.value.replace("_", " ")
        return GridCell(
            text=status,
            mark=mark,
            detail=short_reason(cell),
            evidence=behind,
            is_unexpected=cell.is_unexpected,
            span=span,
        )
    ratio = time.median_ns / best.median_ns if best.median_ns else float("nan")
    missing = cell.repeats - cell.with_number
    failed = f", {missing} of {cell.repeats} repeats {cell.status.value}" if missing else ""
    return GridCell(
        text=shown_duration(time.median_ns),
        mark=mark_of(cell, time),
        detail=spread(time) + failed,
        instability=time.instability,
        against=_against(time, best, ratio),
        shade=sum(ratio > bound for bound in SHADES),
        evidence=behind,
        is_unexpected=cell.is_unexpected,
    )


def _against(time: Time, best: Time, ratio: float) -> str:
    if time is best or ratio == 1.0:
        return "best"
    return f"{ratio:.2f}x{' ≈' if overlap(time, best) else ''}"
