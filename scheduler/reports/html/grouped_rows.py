"""The rows of a sweep by block and cell, with the statistics of each cell beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from velodrome.scheduler.reports.cell_keys import (
    Implementation,
    Platform,
    Workload,
    add_qualifiers,
    read_implementation,
    read_platform,
    read_workload,
)
from velodrome.scheduler.reports.cells import CellResult, collect_cells
from velodrome.scheduler.reports.process_variation import CellHistory
from velodrome.scheduler.reports.tables import implementation_order, workload_order
from velodrome.scheduler.reports.task_rows import Row, select_last_attempts

CellKey = tuple[Workload, Implementation]


@dataclass(frozen=True)
class PlatformCells:
    """One block: what its cells are, and the rows (a row a repeat and node) that each is of."""

    platform: Platform
    cells: Mapping[CellKey, CellResult]
    rows: Mapping[CellKey, Sequence[Row]]

    @cached_property
    def workloads(self) -> tuple[Workload, ...]:
        """In the order of the zoo."""
        return tuple(sorted({workload for workload, _ in self.cells}, key=workload_order))

    @cached_property
    def implementations(self) -> tuple[Implementation, ...]:
        """In the order of the registry."""
        return tuple(sorted({impl for _, impl in self.cells}, key=implementation_order))

    @cached_property
    def with_number(self) -> int:
        """How many cells have one."""
        return sum(1 for cell in self.cells.values() if cell.with_number)

    @cached_property
    def lines(self) -> Mapping[Workload, Sequence[tuple[Implementation, CellResult]]]:
        """The cells of each course."""
        found: dict[Workload, list[tuple[Implementation, CellResult]]] = {}
        for (workload, impl), cell in self.cells.items():
            found.setdefault(workload, []).append((impl, cell))
        return found


def grouped(rows: Sequence[Row], history: CellHistory | None = None) -> tuple[PlatformCells, ...]:
    """Those with most numbers first, so that what a page has no room for is what tells least.

    history: as gather has it.
    """
    found: dict[Platform, dict[CellKey, list[Row]]] = {}
    for row in add_qualifiers(select_last_attempts(rows)):
        places = found.setdefault(read_platform(row), {})
        places.setdefault((read_workload(row), read_implementation(row)), []).append(row)
    groups = [
        PlatformCells(platform, cells, found[platform])
        for platform, cells in collect_cells(rows, history).items()
    ]
    return tuple(sorted(groups, key=lambda group: (not group.with_number, group.platform)))


def all_implementations(groups: Sequence[PlatformCells]) -> tuple[Implementation, ...]:
    """Of every block, in the order of the registry."""
    return tuple(
        sorted(
            {impl for group in groups for impl in group.implementations}, key=implementation_order
        )
    )
