"""The selection of tasks whose utilization is plotted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cell_keys import Workload
from velodrome.scheduler.reports.html.formatting import format_platform, format_workload
from velodrome.scheduler.reports.html.grid import find_fastest
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells

MOST = 6


@dataclass(frozen=True)
class TracedTask:
    """One task to plot: the first repeat of one implementation."""

    task_id: str
    repeat: int
    title: str
    subtitle: str
    threads: int


def select_traced_tasks(groups: Sequence[PlatformCells]) -> tuple[TracedTask, ...]:
    """Select one task per implementation, on the slowest of the workloads with most times."""
    for group in groups:
        workload = _find_heaviest(group)
        if workload is not None:
            return tuple(_list_tasks(group, workload))[:MOST]
    return ()


def _find_heaviest(group: PlatformCells) -> Workload | None:
    def weight(workload: Workload) -> tuple[int, float]:
        time = find_fastest(group, workload, group.find_decisive(workload))
        numbered = sum(
            1 for (one, _), cell in group.cells.items() if one == workload and cell.with_number
        )
        return numbered, time.median_ns if time else 0.0

    heaviest = max(group.workloads, key=weight, default=None)
    return heaviest if heaviest and weight(heaviest)[0] else None


def _list_tasks(group: PlatformCells, workload: Workload) -> Iterator[TracedTask]:
    for impl in group.implementations:
        rows = group.rows.get((workload, impl), ())
        timed = [row for row in rows if row.timed]
        if timed:
            row = min(timed, key=lambda timed_row: timed_row.repeat)
            yield TracedTask(
                row.task_id,
                row.repeat,
                impl.label,
                f"{format_workload(workload)}, {format_platform(group.platform)}, "
                f"on {row.hostname}",
                group.platform.total_threads,
            )
