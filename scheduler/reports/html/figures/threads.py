"""How much faster more threads are, beside what they would be at best."""

from collections.abc import Sequence

import altair as alt

from velodrome.scheduler.reports.cells import Contestant, Course, Time
from velodrome.scheduler.reports.html.figures.chart import (
    Chart,
    ChartRow,
    Figure,
    colour,
    dash,
    empty,
    shape,
    spec,
)
from velodrome.scheduler.reports.html.formatting import course_name, shown_duration
from velodrome.scheduler.reports.html.grouped_rows import Group
from velodrome.scheduler.reports.html.palette import Mark
from velodrome.scheduler.reports.tables import contestant_order, course_order

MOST = 12
IDEAL = "as many times faster as threads"

Times = dict[Contestant, dict[int, Time]]


def thread_scaling(groups: Sequence[Group], marks: Sequence[Mark]) -> tuple[Figure, ...]:
    """Of courses that were timed at two thread counts or more on one type of node."""
    found: list[Figure] = []
    for where, courses in _by_place(groups).items():
        for course in sorted(courses, key=course_order):
            scaled = {who: times for who, times in courses[course].items() if len(times) > 1}
            if scaled and len(found) < MOST:
                found.append(_figure(where, course, scaled, marks, len(found)))
    return tuple(found)


def _by_place(groups: Sequence[Group]) -> dict[str, dict[Course, Times]]:
    found: dict[str, dict[Course, Times]] = {}
    for group in groups:
        block = group.block
        where = ", ".join(
            filter(None, (block.hardware, block.node_type, block.device_name, block.dtype))
        )
        for (course, who), cell in group.cells.items():
            if time := cell.gradient or cell.forward:
                times = found.setdefault(where, {}).setdefault(course, {}).setdefault(who, {})
                times[block.threads] = time
    return found


def _figure(where: str, course: Course, found: Times, marks: Sequence[Mark], number: int) -> Figure:
    rows: list[ChartRow] = []
    table = []
    for who in sorted(found, key=contestant_order):
        times = found[who]
        fewest = min(times)
        for threads, time in sorted(times.items()):
            speedup = times[fewest].median_ns / time.median_ns if time.median_ns else 0.0
            told = f"{speedup:.2f} times as fast as {fewest}"
            tip = f"{who.label}, {threads} threads: {shown_duration(time.median_ns)}, {told}"
            rows.append({"who": who.label, "threads": threads, "speedup": speedup, "tip": tip})
            table.append(
                (who.label, str(threads), shown_duration(time.median_ns), f"{speedup:.2f}")
            )
    counts = sorted({threads for times in found.values() for threads in times})
    rows += [
        {"who": IDEAL, "threads": count, "ideal": count / counts[0], "tip": IDEAL}
        for count in counts
    ]
    return Figure(
        f"figure-threads-{number}",
        course_name(course),
        where,
        spec(_chart(marks, counts), rows),
        ("contestant", "threads", "time", "times as fast"),
        tuple(table),
    )


def _chart(marks: Sequence[Mark], counts: Sequence[int]) -> Chart:
    across = alt.X(
        "threads:Q",
        title="threads",
        scale=alt.Scale(type="log", base=2, nice=False, padding=12),
        axis=alt.Axis(values=list(counts), format="d", grid=False),
    )
    up = alt.Y("speedup:Q", title="times as fast")
    ideal = (
        empty()
        .mark_line(strokeDash=[2, 4], color="currentColor", opacity=0.5)
        .encode(across, alt.Y("ideal:Q"))
    )
    lines = empty().mark_line(strokeWidth=2).encode(across, up, colour(marks), dash(marks))
    points = (
        empty()
        .mark_point(filled=True, size=60, opacity=1)
        .encode(across, up, colour(marks), shape(marks), alt.Tooltip("tip:N"))
    )
    return alt.layer(ideal, lines, points)
