"""The figure sections of a page; a section without a figure says why."""

from collections.abc import Sequence

from velodrome.scheduler.reports.html.figures.batch_sizes import plot_batch_sizes
from velodrome.scheduler.reports.html.figures.chart import ChartFigure, FigureSection, SeriesStyle
from velodrome.scheduler.reports.html.figures.energy import plot_energy
from velodrome.scheduler.reports.html.figures.relative_times import plot_relative_times
from velodrome.scheduler.reports.html.figures.roofline_chart import plot_rooflines
from velodrome.scheduler.reports.html.figures.scaling import plot_scaling
from velodrome.scheduler.reports.html.figures.threads import plot_thread_scaling
from velodrome.scheduler.reports.html.figures.traced_tasks import TracedTask
from velodrome.scheduler.reports.html.figures.traces import plot_traces
from velodrome.scheduler.reports.html.formatting import join_names
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells
from velodrome.scheduler.reports.html.overview import Overview
from velodrome.scheduler.reports.html.queries import Queries
from velodrome.scheduler.reports.roofline import build_rooflines
from velodrome.scheduler.reports.scaling import measure_scaling
from velodrome.scheduler.results.detail_rows import ReadingRow
from velodrome.scheduler.results.typed_rows import TaskRow

# By name: the title, the caption, and the text of a section without a figure.
_TEXTS = {
    "distance": (
        "Relative times",
        "Gradient time (forward time for a model without gradient) relative to the best of the "
        "same line: same model, batch size, hardware, device, threads and precision.",
        "No line has two times to compare.",
    ),
    "batch-sizes": (
        "Time against batch size",
        "Gradient time of one batch; both axes are logarithmic. Bars are 95 % intervals.",
        "No model was timed at two batch sizes in this sweep.",
    ),
    "threads": (
        "Thread scaling",
        "Speedup over the fewest threads. Dotted line: ideal speedup.",
        "No model was timed at two thread counts in this sweep.",
    ),
    "scaling": (
        "Scaling over devices",
        "Speedup over one device: the ratio of examples per second. Dotted line: ideal speedup; "
        "bars are 95 % intervals. Strong: the same whole batch; weak: the same batch per device. "
        "Communication, measured: the time on all devices less that of one device on its own "
        "share of the batch, over the time on all. Predicted: the time of an all-reduce of the "
        "gradients' size on the same devices over the time on all.",
        "No cell on several devices has a time, and the same cell on one.",
    ),
    "traces": (
        "Utilization over time",
        "Busy cores of the worker and its children, sampled by another process; one task of "
        "each framework variant. Dotted line: assigned threads.",
        "No task has two utilization readings.",
    ),
    "roofline": (
        "Roofline",
        "Rate against arithmetic intensity, with the ceilings that gemm and copy reached on "
        "the same node (Williams, Waterman and Patterson, CACM 52 (4), 2009). Filled points: "
        "gradient, a little paler: step; open points: forward, faintly filled: inference.",
        "No model with known FLOP was timed.",
    ),
    "energy": (
        "Energy",
        "Energy per gradient, median over repeats. Source: an energy counter, or an estimate "
        "from power.",
        "No energy per gradient is known{reasons}.",
    ),
}


def build_sections(
    rows: Sequence[TaskRow],
    groups: Sequence[PlatformCells],
    overview: Overview,
    styles: Sequence[SeriesStyle],
    traced: Sequence[TracedTask],
    readings: Sequence[ReadingRow],
    queries: Queries,
) -> tuple[FigureSection, ...]:
    """Build all sections, in the order of the page."""
    scaling = measure_scaling(rows)
    plots = {
        "distance": (plot_relative_times(overview, styles), queries.grid()),
        "batch-sizes": (plot_batch_sizes(groups, styles), queries.batch_sizes()),
        "threads": (plot_thread_scaling(groups, styles), queries.threads()),
        "scaling": (plot_scaling(scaling, styles), queries.scaling()),
        "traces": (plot_traces(traced, readings), queries.traces(traced)),
        "roofline": (plot_rooflines(build_rooflines(rows), styles), queries.roofline()),
        "energy": (plot_energy(groups, styles), queries.energy()),
    }
    reasons = _join_reasons(rows)
    return tuple(
        _build_section(name, *plot, reasons)
        for name, plot in plots.items()
        if name != "scaling" or scaling  # few sweeps have tasks on several devices
    )


def _build_section(
    name: str, figures: Sequence[ChartFigure], query: str, reasons: str
) -> FigureSection:
    title, caption, without = _TEXTS[name]
    return FigureSection(
        name, title, caption, tuple(figures), without.format(reasons=reasons), query
    )


def _join_reasons(rows: Sequence[TaskRow]) -> str:
    reasons = sorted({row.energy_reason for row in rows} - {""})
    return f": {join_names(reasons, 3)}" if reasons else ""
