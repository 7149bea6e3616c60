"""Rows of a sweep grouped by platform and cell, with the result of each cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.agents.phases import find_decisive
from velodrome.scheduler.reports import cell_keys
from velodrome.scheduler.reports.cells import CellResult, collect_cells
from velodrome.scheduler.reports.process_variation import CellHistory
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.typed_rows import TaskRow

GridKey = tuple[cell_keys.Workload, cell_keys.Implementation]


@dataclass(frozen=True)
class PlatformCells:
    """The cells of one platform, each with its rows (one per repeat and node)."""

    platform: cell_keys.Platform
    cells: Mapping[GridKey, CellResult]
    rows: Mapping[GridKey, Sequence[TaskRow]]

    @cached_property
    def workloads(self) -> tuple[cell_keys.Workload, ...]:
        """The workloads in the order of the model zoo."""
        return tuple(sorted({workload for workload, _ in self.cells}, key=cell_keys.workload_order))

    @cached_property
    def implementations(self) -> tuple[cell_keys.Implementation, ...]:
        """The implementations in the order of the registry."""
        return tuple(sorted({impl for _, impl in self.cells}, key=cell_keys.implementation_order))

    @cached_property
    def with_number(self) -> int:
        """The number of cells with a time."""
        return sum(1 for cell in self.cells.values() if cell.with_number)

    @cached_property
    def lines(
        self,
    ) -> Mapping[cell_keys.Workload, Sequence[tuple[cell_keys.Implementation, CellResult]]]:
        """The cells of each workload."""
        found: dict[cell_keys.Workload, list[tuple[cell_keys.Implementation, CellResult]]] = {}
        for (workload, impl), cell in self.cells.items():
            found.setdefault(workload, []).append((impl, cell))
        return found

    def find_decisive(self, workload: cell_keys.Workload) -> str:
        """Return the decisive one of the phases that a workload was timed in; else forward."""
        cells = [cell for _, cell in self.lines.get(workload, ())]
        timed = [phase for phase in TIMED_PHASES if any(cell.time(phase) for cell in cells)]
        return find_decisive(timed) or "forward"


def group_rows(
    rows: Sequence[TaskRow], history: CellHistory | None = None
) -> tuple[PlatformCells, ...]:
    """Group the rows by platform, those with most times first: a page may omit the last ones.

    history: as in collect_cells.
    """
    found: dict[cell_keys.Platform, dict[GridKey, list[TaskRow]]] = {}
    last = select_last_attempts(rows)
    qualifiers = cell_keys.find_qualifiers(last)
    for row in last:
        places = found.setdefault(cell_keys.read_platform(row), {})
        place = (cell_keys.read_workload(row), cell_keys.read_implementation(row, qualifiers))
        places.setdefault(place, []).append(row)
    groups = [
        PlatformCells(platform, cells, found[platform])
        for platform, cells in collect_cells(rows, history).items()
    ]
    return tuple(
        sorted(
            groups,
            key=lambda group: (not group.with_number, cell_keys.platform_order(group.platform)),
        )
    )


def list_implementations(groups: Sequence[PlatformCells]) -> tuple[cell_keys.Implementation, ...]:
    """Return the implementations of every platform, in the order of the registry."""
    return tuple(
        sorted(
            {impl for group in groups for impl in group.implementations},
            key=cell_keys.implementation_order,
        )
    )
