"""Energy of one gradient of each contestant on each model, where it is known how much it took."""

import statistics
from collections.abc import Sequence

import altair as alt

from velodrome.scheduler.reports.cells import Contestant, Course
from velodrome.scheduler.reports.html.figures.chart import (
    Chart,
    ChartRow,
    Figure,
    colour,
    empty,
    spec,
)
from velodrome.scheduler.reports.html.formatting import (
    block_name,
    course_name,
    hardware_name,
    listed,
)
from velodrome.scheduler.reports.html.grouped_rows import Group
from velodrome.scheduler.reports.html.palette import Mark
from velodrome.scheduler.reports.tables import contestant_order
from velodrome.scheduler.reports.task_rows import Row
from velodrome.scheduler.results.sanitizing import in_one_line

MOST = 12
ROW_HEIGHT = 26
MARGIN = 30
COLUMN = "energy_per_gradient_j"


def energy(groups: Sequence[Group], marks: Sequence[Mark]) -> tuple[Figure, ...]:
    """One per block and course of which anything is known."""
    found: list[Figure] = []
    for group in groups:
        for course in group.courses:
            joules = _joules(group, course)
            if joules and len(found) < MOST:
                found.append(_figure(group, course, joules, marks, len(found)))
    return tuple(found)


def _joules(group: Group, course: Course) -> dict[Contestant, tuple[float, str]]:
    """The median over repeats, and how it is known."""
    found = {}
    for (one, who), rows in group.rows.items():
        known = [row for row in rows if one == course and row.get(COLUMN) is not None]
        if known:
            middle = statistics.median(float(str(row[COLUMN])) for row in known)
            found[who] = (middle, listed(sorted({_source(row) for row in known})))
    return found


def _source(row: Row) -> str:
    return in_one_line(row.get("energy_source")) or "source not told"


def _figure(
    group: Group,
    course: Course,
    joules: dict[Contestant, tuple[float, str]],
    marks: Sequence[Mark],
    number: int,
) -> Figure:
    order = sorted(joules, key=contestant_order)
    rows: list[ChartRow] = [
        {
            "who": who.label,
            "joules": joules[who][0],
            "tip": f"{who.label}: {joules[who][0]:.3g} J, {joules[who][1]}",
        }
        for who in order
    ]
    labels = [who.label for who in order]
    return Figure(
        f"figure-energy-{number}",
        course_name(course),
        f"{hardware_name(group.block)}, {block_name(group.block)}",
        spec(_chart(marks, labels), rows, MARGIN + ROW_HEIGHT * len(order)),
        ("contestant", "energy", "how it is known"),
        tuple((who.label, f"{joules[who][0]:.3g} J", joules[who][1]) for who in order),
    )


def _chart(marks: Sequence[Mark], order: Sequence[str]) -> Chart:
    down = alt.Y("who:N", title=None, sort=list(order), axis=alt.Axis(labelLimit=150))
    bars: Chart = (
        empty()
        .mark_bar(size=14)
        .encode(
            alt.X("joules:Q", title="J per gradient"), down, colour(marks), alt.Tooltip("tip:N")
        )
    )
    return bars
