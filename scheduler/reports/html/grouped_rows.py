"""The rows of a sweep by block and cell, with the statistics of each cell beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from velodrome.scheduler.reports.cells import (
    Block,
    Cell,
    Contestant,
    Course,
    History,
    block_of,
    contestant_of,
    course_of,
    gather,
    set_apart,
)
from velodrome.scheduler.reports.tables import contestant_order, course_order
from velodrome.scheduler.reports.task_rows import Row, last_attempts

Place = tuple[Course, Contestant]


@dataclass(frozen=True)
class Group:
    """One block: what its cells are, and the rows (a row a repeat and node) that each is of."""

    block: Block
    cells: Mapping[Place, Cell]
    rows: Mapping[Place, Sequence[Row]]

    @cached_property
    def courses(self) -> tuple[Course, ...]:
        """In the order of the zoo."""
        return tuple(sorted({course for course, _ in self.cells}, key=course_order))

    @cached_property
    def contestants(self) -> tuple[Contestant, ...]:
        """In the order of the registry."""
        return tuple(sorted({who for _, who in self.cells}, key=contestant_order))

    @cached_property
    def with_number(self) -> int:
        """How many cells have one."""
        return sum(1 for cell in self.cells.values() if cell.with_number)

    @cached_property
    def lines(self) -> Mapping[Course, Sequence[tuple[Contestant, Cell]]]:
        """The cells of each course."""
        found: dict[Course, list[tuple[Contestant, Cell]]] = {}
        for (course, who), cell in self.cells.items():
            found.setdefault(course, []).append((who, cell))
        return found


def grouped(rows: Sequence[Row], history: History | None = None) -> tuple[Group, ...]:
    """Those with most numbers first, so that what a page has no room for is what tells least.

    history: as gather has it.
    """
    found: dict[Block, dict[Place, list[Row]]] = {}
    for row in set_apart(last_attempts(rows)):
        places = found.setdefault(block_of(row), {})
        places.setdefault((course_of(row), contestant_of(row)), []).append(row)
    groups = [Group(block, cells, found[block]) for block, cells in gather(rows, history).items()]
    return tuple(sorted(groups, key=lambda group: (not group.with_number, group.block)))


def all_contestants(groups: Sequence[Group]) -> tuple[Contestant, ...]:
    """Of every block, in the order of the registry."""
    return tuple(
        sorted({who for group in groups for who in group.contestants}, key=contestant_order)
    )
