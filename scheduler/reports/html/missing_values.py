"""Why cells carry no number: each reason once, with the cells that it holds for."""

from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cell_keys import Implementation, Platform, Workload
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.evidence import shortened
from velodrome.scheduler.reports.html.formatting import format_platform, format_workload
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells
from velodrome.scheduler.reports.task_rows import Row, read_rerun_command

MOST_REASONS = 200
MOST_NAMED = 40


@dataclass(frozen=True)
class Reason:
    """named: the first of the cells. rerun, log_tail: of the first."""

    status: str
    text: str
    count: int
    named: tuple[str, ...]
    rerun: str
    log_tail: str
    is_unexpected: bool
    expected: str


def reasons(groups: Sequence[PlatformCells]) -> tuple[Reason, ...]:
    """What was not expected first, then by how many cells a reason holds for."""
    found: dict[
        tuple[str, str, bool, str], list[tuple[PlatformCells, Workload, Implementation]]
    ] = {}
    for group in groups:
        for (workload, impl), cell in group.cells.items():
            if _is_told(cell):
                found.setdefault(_key(cell), []).append((group, workload, impl))
    told = [_reason(key, cells) for key, cells in found.items()]
    return tuple(sorted(told, key=lambda one: (not one.is_unexpected, -one.count)))


def _is_told(cell: CellResult) -> bool:
    return cell.with_number < cell.repeats or cell.is_unexpected


def _key(cell: CellResult) -> tuple[str, str, bool, str]:
    text = cell.reason
    if cell.status.has_number:
        text = "it agreed, and was not expected to"
    return cell.status.value.replace("_", " "), text, cell.is_unexpected, cell.expected


def _reason(
    key: tuple[str, str, bool, str], cells: Sequence[tuple[PlatformCells, Workload, Implementation]]
) -> Reason:
    status, text, is_unexpected, expected = key
    group, workload, impl = cells[0]
    cell = group.cells[workload, impl]
    row = _told(group.rows[workload, impl], cell)
    return Reason(
        status=status,
        text=text,
        count=len(cells),
        named=tuple(_name(one.platform, run, by) for one, run, by in cells[:MOST_NAMED]),
        rerun=cell.rerun,
        log_tail="" if cell.status.has_number else shortened(str(row.get("log_tail") or "")),
        is_unexpected=is_unexpected,
        expected=expected,
    )


def _told(rows: Sequence[Row], cell: CellResult) -> Row:
    return next((row for row in rows if read_rerun_command(row["rerun"]) == cell.rerun), rows[0])


def _name(platform: Platform, workload: Workload, impl: Implementation) -> str:
    return f"{impl.label}, {format_workload(workload)}, {format_platform(platform)}"
