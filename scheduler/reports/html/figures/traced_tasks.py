"""Which tasks' utilization is drawn: decided before any reading is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cells import Course, contestant_of, course_of
from velodrome.scheduler.reports.html.formatting import block_name, course_name
from velodrome.scheduler.reports.html.grid import lowest
from velodrome.scheduler.reports.html.grouped_rows import Group
from velodrome.scheduler.results.sanitizing import in_one_line

MOST = 6


@dataclass(frozen=True)
class Chosen:
    """A task whose readings are to be read: of one contestant, its first repeat."""

    task_id: str
    repeat: int
    title: str
    subtitle: str
    threads: int


def chosen(groups: Sequence[Group]) -> tuple[Chosen, ...]:
    """One per contestant, all on the course that takes longest where most have a number."""
    for group in groups:
        course = _longest(group)
        if course is not None:
            return tuple(_of(group, course))[:MOST]
    return ()


def _longest(group: Group) -> Course | None:
    def weight(course: Course) -> tuple[int, float]:
        time = lowest(group, course, "gradient") or lowest(group, course, "forward")
        numbered = sum(
            1 for (one, _), cell in group.cells.items() if one == course and cell.with_number
        )
        return numbered, time.median_ns if time else 0.0

    heaviest = max(group.courses, key=weight, default=None)
    return heaviest if heaviest and weight(heaviest)[0] else None


def _of(group: Group, course: Course) -> Iterator[Chosen]:
    for who in group.contestants:
        rows = group.rows.get((course, who), ())
        timed = [row for row in rows if row["forward_median_ns"] is not None]
        if timed:
            row = min(timed, key=lambda one: int(str(one["repeat"])))
            yield Chosen(
                str(row["task_id"]),
                int(str(row["repeat"])),
                contestant_of(row).label,
                f"{course_name(course_of(row))}, {block_name(group.block)}, "
                f"on {in_one_line(row['hostname'])}",
                group.block.threads,
            )
