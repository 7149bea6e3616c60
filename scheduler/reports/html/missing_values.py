"""Reasons for missing times: each reason once, with its cells."""

from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cell_keys import Implementation, Platform, Workload
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.evidence import shorten_log
from velodrome.scheduler.reports.html.formatting import format_platform, format_workload
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells
from velodrome.scheduler.reports.task_rows import read_rerun_command
from velodrome.scheduler.results.typed_rows import TaskRow

MOST_REASONS = 200
MOST_NAMED = 40


@dataclass(frozen=True)
class Reason:
    """One reason and its cells. named: the first of them; rerun, log_tail: of the first cell."""

    status: str
    text: str
    count: int
    named: tuple[str, ...]
    rerun: str
    log_tail: str
    is_unexpected: bool
    expected: str


def collect_reasons(groups: Sequence[PlatformCells]) -> tuple[Reason, ...]:
    """Collect the reasons, unexpected ones first, then by the number of cells."""
    found: dict[
        tuple[str, str, bool, str], list[tuple[PlatformCells, Workload, Implementation]]
    ] = {}
    for group in groups:
        for (workload, impl), cell in group.cells.items():
            if _has_reason(cell):
                found.setdefault(_identify_reason(cell), []).append((group, workload, impl))
    reasons = [_build_reason(key, cells) for key, cells in found.items()]
    return tuple(sorted(reasons, key=lambda reason: (not reason.is_unexpected, -reason.count)))


def _has_reason(cell: CellResult) -> bool:
    return cell.with_number < cell.repeats or cell.is_unexpected


def _identify_reason(cell: CellResult) -> tuple[str, str, bool, str]:
    text = cell.reason
    if cell.status.has_number:
        text = "agreed, another outcome was expected"
    return cell.status.value.replace("_", " "), text, cell.is_unexpected, cell.expected


def _build_reason(
    key: tuple[str, str, bool, str], cells: Sequence[tuple[PlatformCells, Workload, Implementation]]
) -> Reason:
    status, text, is_unexpected, expected = key
    group, workload, impl = cells[0]
    cell = group.cells[workload, impl]
    row = _find_shown_row(group.rows[workload, impl], cell)
    return Reason(
        status=status,
        text=text,
        count=len(cells),
        named=tuple(
            _format_name(group_of_cell.platform, run, by)
            for group_of_cell, run, by in cells[:MOST_NAMED]
        ),
        rerun=cell.rerun,
        log_tail="" if cell.status.has_number else shorten_log(str(row.log_tail or "")),
        is_unexpected=is_unexpected,
        expected=expected,
    )


def _find_shown_row(rows: Sequence[TaskRow], cell: CellResult) -> TaskRow:
    return next((row for row in rows if read_rerun_command(row.rerun) == cell.rerun), rows[0])


def _format_name(platform: Platform, workload: Workload, impl: Implementation) -> str:
    return f"{impl.label}, {format_workload(workload)}, {format_platform(platform)}"
