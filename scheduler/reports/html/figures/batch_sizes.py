"""Charts of time against batch size, one line per implementation."""

from collections.abc import Sequence

import altair as alt

from velodrome.scheduler.reports.cell_keys import implementation_order
from velodrome.scheduler.reports.html.figures import chart as charts
from velodrome.scheduler.reports.html.formatting import (
    format_hardware,
    format_platform,
    show_interval,
)
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells

MOST = 8  # figures
NS_PER_MS = 1e6


def plot_batch_sizes(
    groups: Sequence[PlatformCells], styles: Sequence[charts.SeriesStyle]
) -> tuple[charts.ChartFigure, ...]:
    """Plot each model that was timed at two batch sizes or more."""
    found: list[charts.ChartFigure] = []
    for group in groups:
        for model in dict.fromkeys(workload.model for workload in group.workloads):
            if len(found) == MOST:
                return tuple(found)
            if figure := _build_figure(group, model, styles, len(found)):
                found.append(figure)
    return tuple(found)


def _build_figure(
    group: PlatformCells, model: str, styles: Sequence[charts.SeriesStyle], number: int
) -> charts.ChartFigure | None:
    times = [
        (workload.batch_size, impl, time)
        for (workload, impl), cell in group.cells.items()
        if workload.model == model and (time := cell.decisive)
    ]
    if len({size for size, _, _ in times}) < 2:
        return None
    in_order = sorted(times, key=lambda one: (implementation_order(one[1]), one[0]))
    rows: list[charts.ChartRow] = [
        {
            "who": impl.label,
            "batch": size,
            "ms": time.median_ns / NS_PER_MS,
            # Without an interval the bar has no length.
            "low": (time.low_ns or time.median_ns) / NS_PER_MS,
            "high": (time.high_ns or time.median_ns) / NS_PER_MS,
            "tip": f"{impl.label}, batch {size}: {show_interval(time)}",
        }
        for size, impl, time in in_order
    ]
    drawn = [time.median_ns / NS_PER_MS for _, _, time in times]
    return charts.ChartFigure(
        f"figure-batch-{number}",
        model,
        f"{format_hardware(group.platform)}, {format_platform(group.platform)}",
        charts.build_spec(
            _build_chart(styles, sorted({size for size, _, _ in times}), drawn), rows
        ),
        ("framework", "batch size", "time"),
        tuple((impl.label, str(size), show_interval(time)) for size, impl, time in in_order),
    )


def _build_chart(
    styles: Sequence[charts.SeriesStyle], sizes: Sequence[int], drawn: Sequence[float]
) -> charts.Chart:
    across = alt.X(
        "batch:Q",
        title="batch size",
        scale=alt.Scale(type="log", base=2, nice=False, padding=12),
        axis=alt.Axis(values=list(sizes), format="d", grid=False),
    )
    up = alt.Y(
        "ms:Q",
        title="ms per batch",
        scale=alt.Scale(type="log", nice=False, padding=10),
        axis=alt.Axis(values=charts.choose_grid_lines(drawn), format="~g"),
    )
    tip = alt.Tooltip("tip:N")
    lines = (
        charts.make_chart()
        .mark_line(strokeWidth=2)
        .encode(across, up, charts.encode_colour(styles), charts.encode_dash(styles))
    )
    bars = (
        charts.make_chart()
        .mark_rule(strokeWidth=2, opacity=0.6)
        .encode(across, alt.Y("low:Q"), alt.Y2("high:Q"), charts.encode_colour(styles))
    )
    points = (
        charts.make_chart()
        .mark_point(filled=True, size=60, opacity=1)
        .encode(across, up, charts.encode_colour(styles), charts.encode_shape(styles), tip)
    )
    return alt.layer(lines, bars, points)
