"""The framework x model grid of one block: in every place a number, or the reason for none."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cells import Cell, Contestant, Course, Time
from velodrome.scheduler.reports.html.check_lines import Check
from velodrome.scheduler.reports.html.evidence import Evidence, evidence
from velodrome.scheduler.reports.html.formatting import (
    block_name,
    cut,
    hardware_name,
    shown_duration,
    spread,
)
from velodrome.scheduler.reports.html.grouped_rows import Group
from velodrome.scheduler.reports.tables import PHASES, mark_of
from velodrome.scheduler.reports.task_rows import Row
from velodrome.scheduler.results.sanitizing import in_one_line

MARKS = {"verified": "✓", "unstable": "~", "failed": "✗", "expected": "-", "absent": "·"}
NOT_HERE = "not in this sweep"
NO_GRADIENT = "no gradient"
Run = tuple[object, object, object]  # task, repeat and attempt
SHADES = (1.1, 1.5, 2.5, 5.0)  # times the best, up to which a place has the next shade


@dataclass(frozen=True)
class Shown:
    """One place. evidence: the id of what stands behind it. shade: 0 for the best, or -1.

    against: how far from the best of its line; `best`, or with ≈ where intervals overlap.
    doubt: why its time did not settle.
    """

    text: str
    mark: str
    detail: str = ""
    doubt: str = ""
    against: str = ""
    shade: int = -1
    evidence: str = ""
    is_surprise: bool = False
    span: int = 1  # lines that it stands in; 0: it stands in the line above

    @property
    def sign(self) -> str:
        return MARKS[self.mark]


@dataclass(frozen=True)
class Line:
    """One course in one phase."""

    model: str
    batch_size: int
    phase: str
    places: tuple[Shown, ...]
    span: int  # lines of its course; 0 for all but the first


@dataclass(frozen=True)
class Head:
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
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    behind: tuple[Evidence, ...]
    cells: int
    with_number: int


Checks = Callable[[Iterable[str]], Sequence[Row]]  # by task ids: rows with the column `checks`


def no_checks(task_ids: Iterable[str]) -> Sequence[Row]:
    return ()


def grid(group: Group, number: int, first: int, room: int, checks: Checks = no_checks) -> Grid:
    """Of a block that there is room for. first: the number of its first cell on the page.

    room: for how many cells what stands behind them may be told; those without a time go first.
    """
    down = {course: place for place, course in enumerate(group.courses)}
    across = {who: place for place, who in enumerate(group.contestants)}
    in_order = sorted(group.rows, key=lambda place: (down[place[0]], across[place[1]]))
    told = sorted(in_order, key=lambda place: group.cells[place].with_number > 0)[:room]
    found = _checks_by_run(checks, [row for place in told for row in group.rows[place]])
    behind = {
        (course, who): evidence(
            cell_number,
            group.block,
            course,
            who,
            group.cells[course, who],
            group.rows[course, who],
            [found[run] for row in group.rows[course, who] if (run := _run(row)) in found],
        )
        for cell_number, (course, who) in enumerate(told, first)
    }
    return Grid(
        id=f"grid-{number}",
        title=hardware_name(group.block),
        subtitle=block_name(group.block),
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


def heads(group: Group) -> tuple[Head, ...]:
    versions: dict[Contestant, dict[str, None]] = {who: {} for who in group.contestants}
    for (_, who), rows in group.rows.items():
        for row in rows:
            if version := in_one_line(row.get("framework_version")):
                versions[who][version] = None
    return tuple(Head(who.framework, who.variant, _version([*versions[who]])) for who in versions)


def _version(found: Sequence[str]) -> str:
    return found[0] if len(found) == 1 else f"{len(found)} versions" if found else ""


def lowest(group: Group, course: Course, phase: str) -> Time | None:
    """The time with the lowest median of a line."""
    times = [getattr(cell, phase) for _, cell in group.lines.get(course, ())]
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


def short_reason(cell: Cell) -> str:
    return cut(cell.reason) or "no reason was given"


def _lines(group: Group, behind: dict[tuple[Course, Contestant], Evidence]) -> Iterator[Line]:
    contestants = group.contestants
    for course in group.courses:
        cells = [group.cells.get((course, who)) for who in contestants]
        phases = [phase for phase in PHASES if any(cell and getattr(cell, phase) for cell in cells)]
        phases = phases or [PHASES[-1]]
        for phase in phases:
            best = lowest(group, course, phase)
            span = len(phases) if phase == phases[0] else 0
            places = [
                _shown(cell, phase, best, _id(behind.get((course, who))), span)
                if cell
                else Shown(NOT_HERE, "absent", span=span)
                for cell, who in zip(cells, contestants, strict=True)
            ]
            yield Line(course.model, course.batch_size, phase, tuple(places), span)


def _id(behind: Evidence | None) -> str:
    return behind.id if behind else ""


def _shown(cell: Cell, phase: str, best: Time | None, behind: str, span: int) -> Shown:
    """span: of what holds for all phases of the course."""
    time: Time | None = getattr(cell, phase)
    if time is None or best is None:
        if cell.with_number:
            return Shown(NO_GRADIENT, "absent", f"of {phase} nothing was timed", evidence=behind)
        mark = "failed" if cell.is_surprise else "expected"
        status = cell.status.value.replace("_", " ")
        return Shown(
            text=status,
            mark=mark,
            detail=short_reason(cell),
            evidence=behind,
            is_surprise=cell.is_surprise,
            span=span,
        )
    ratio = time.median_ns / best.median_ns if best.median_ns else float("nan")
    missing = cell.repeats - cell.with_number
    failed = f", {missing} of {cell.repeats} repeats {cell.status.value}" if missing else ""
    return Shown(
        text=shown_duration(time.median_ns),
        mark=mark_of(cell, time),
        detail=spread(time) + failed,
        doubt=time.doubt,
        against=_against(time, best, ratio),
        shade=sum(ratio > bound for bound in SHADES),
        evidence=behind,
        is_surprise=cell.is_surprise,
    )


def _against(time: Time, best: Time, ratio: float) -> str:
    if time is best or ratio == 1.0:
        return "best"
    return f"{ratio:.2f}x{' ≈' if overlap(time, best) else ''}"
