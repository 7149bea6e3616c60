"""All figures of a page, section by section; one without a figure says why."""

from collections.abc import Sequence

from velodrome.scheduler.reports.html.figures.batch_sizes import batch_sizes
from velodrome.scheduler.reports.html.figures.chart import FigureSection, SeriesStyle
from velodrome.scheduler.reports.html.figures.energy import energy
from velodrome.scheduler.reports.html.figures.relative_times import distances
from velodrome.scheduler.reports.html.figures.roofline_chart import roofs
from velodrome.scheduler.reports.html.figures.threads import thread_scaling
from velodrome.scheduler.reports.html.figures.traced_tasks import TracedTask
from velodrome.scheduler.reports.html.figures.traces import traces
from velodrome.scheduler.reports.html.formatting import listed
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells
from velodrome.scheduler.reports.html.overview import Overview
from velodrome.scheduler.reports.html.queries import Queries
from velodrome.scheduler.reports.roofline import build_rooflines
from velodrome.scheduler.reports.task_rows import Row
from velodrome.scheduler.results.sanitizing import in_one_line


def sections(
    rows: Sequence[Row],
    groups: Sequence[PlatformCells],
    seen: Overview,
    styles: Sequence[SeriesStyle],
    picked: Sequence[TracedTask],
    readings: Sequence[Row],
    queries: Queries,
) -> tuple[FigureSection, ...]:
    return (
        FigureSection(
            "distance",
            "How far from the best",
            "Gradient time (forward time where a model has no gradient) over the best of the same "
            "line: same model, batch size, hardware, device and threads.",
            distances(seen, styles),
            "Nothing was timed by two contestants, so there is nothing to set beside each other.",
            queries.grid(),
        ),
        FigureSection(
            "batch-sizes",
            "Time against batch size",
            "Gradient time of one batch; both axes are logarithmic. Bars are 95 % intervals, where "
            "there are any.",
            batch_sizes(groups, styles),
            "No model was timed at two batch sizes in this sweep.",
            queries.batch_sizes(),
        ),
        FigureSection(
            "threads",
            "Thread scaling",
            "How many times as fast as with the fewest threads; the dotted line is as many times "
            "faster as there are threads.",
            thread_scaling(groups, styles),
            "Nothing was timed at two thread counts in this sweep.",
            queries.threads(),
        ),
        FigureSection(
            "traces",
            "Utilization over time",
            "Busy cores of the worker and its children, read from outside, of one task of each "
            "contestant; the dotted line is the threads that it was given.",
            traces(picked, readings),
            "No task has two readings of its utilization.",
            queries.traces(picked),
        ),
        FigureSection(
            "roofline",
            "Roofline",
            "Rate against arithmetic intensity, below the ceilings that gemm and copy reached on "
            "the same node (Williams, Waterman and Patterson, CACM 52 (4), 2009). Filled points "
            "are gradients, open ones forward.",
            roofs(build_rooflines(rows), styles),
            "No model whose arithmetic is known was timed.",
            queries.roofline(),
        ),
        FigureSection(
            "energy",
            "Energy",
            "Of one gradient: the median over repeats, and whether a counter measured it or it is "
            "estimated from power.",
            energy(groups, styles),
            f"No energy of any gradient is known{_reasons(rows)}.",
            queries.energy(),
        ),
    )


def _reasons(rows: Sequence[Row]) -> str:
    told = sorted({in_one_line(row.get("energy_reason")) for row in rows} - {""})
    return f": {listed(told, 3)}" if told else ""
