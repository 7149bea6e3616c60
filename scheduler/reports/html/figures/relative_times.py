"""A chart of the ratio to the best time, one point per implementation and model."""

from collections.abc import Sequence

import altair as alt

from velodrome.scheduler.reports.html.figures import chart as charts
from velodrome.scheduler.reports.html.overview import Overview

ROW_HEIGHT = 26
MARGIN = 30


def plot_relative_times(
    overview: Overview, styles: Sequence[charts.SeriesStyle]
) -> tuple[charts.ChartFigure, ...]:
    """Plot the ratios; empty unless two implementations have times."""
    points = [
        (impl.label, model, one.ratio, one.with_number)
        for column, impl in enumerate(overview.implementations)
        for model, places in overview.lines
        if (one := places[column]) and one.ratio is not None
    ]
    if len({impl for impl, *_ in points}) < 2:
        return ()
    order = [style.label for style in styles if style.label in {impl for impl, *_ in points}]
    rows: list[charts.ChartRow] = [
        {"who": impl, "ratio": ratio, "tip": f"{impl}, {model}: {ratio:.2f}x the best"}
        for impl, model, ratio, _ in points
    ]
    figure = charts.ChartFigure(
        "figure-distance",
        "Time relative to the best of each line",
        "point: median of one model over batch sizes, threads and devices; bar: median",
        charts.build_spec(
            _build_chart(styles, order, [ratio for _, _, ratio, _ in points]),
            rows,
            MARGIN + ROW_HEIGHT * len(order),
        ),
        ("framework", "model", "ratio to the best", "cells"),
        tuple((impl, model, f"{ratio:.2f}", str(count)) for impl, model, ratio, count in points),
    )
    return (figure,)


def _build_chart(
    styles: Sequence[charts.SeriesStyle], order: Sequence[str], drawn: Sequence[float]
) -> charts.Chart:
    scale = alt.Scale(type="log", nice=False, padding=10)
    axis = alt.Axis(format="~g", values=charts.choose_grid_lines(drawn))
    down = alt.Y("who:N", title=None, sort=list(order), axis=alt.Axis(labelLimit=150, grid=True))
    across = alt.X("ratio:Q", title="ratio to the best time (1 = best)", scale=scale, axis=axis)
    middle = (
        charts.make_chart()
        .mark_tick(thickness=3, size=18, color="currentColor", opacity=0.7)
        .encode(
            alt.X(
                "median(ratio):Q", title="ratio to the best time (1 = best)", scale=scale, axis=axis
            ),
            down,
        )
    )
    points = (
        charts.make_chart()
        .mark_point(filled=True, size=70, opacity=0.85)
        .encode(
            across,
            down,
            charts.encode_colour(styles),
            charts.encode_shape(styles),
            alt.Tooltip("tip:N"),
        )
    )
    return alt.layer(middle, points)
