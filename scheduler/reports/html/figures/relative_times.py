"""How far every contestant is from the best, a point a model: the grid as one figure."""

from collections.abc import Sequence

import altair as alt

from velodrome.scheduler.reports.html.figures.chart import (
    Chart,
    ChartFigure,
    ChartRow,
    SeriesStyle,
    build_spec,
    choose_grid_lines,
    empty_chart,
    encode_colour,
    encode_shape,
)
from velodrome.scheduler.reports.html.overview import Overview

ROW_HEIGHT = 26
MARGIN = 30


def distances(seen: Overview, styles: Sequence[SeriesStyle]) -> tuple[ChartFigure, ...]:
    """None where nobody has anybody beside it."""
    points = [
        (impl.label, model, one.ratio, one.with_number)
        for column, impl in enumerate(seen.implementations)
        for model, places in seen.lines
        if (one := places[column]) and one.ratio is not None
    ]
    if len({impl for impl, *_ in points}) < 2:
        return ()
    order = [style.label for style in styles if style.label in {impl for impl, *_ in points}]
    rows: list[ChartRow] = [
        {"who": impl, "ratio": ratio, "tip": f"{impl}, {model}: {ratio:.2f} times the best"}
        for impl, model, ratio, _ in points
    ]
    figure = ChartFigure(
        "figure-distance",
        "Times over the best of each line",
        "a point a model: the median over batch sizes, threads, devices; the bar is the middle",
        build_spec(
            _chart(styles, order, [ratio for _, _, ratio, _ in points]),
            rows,
            MARGIN + ROW_HEIGHT * len(order),
        ),
        ("contestant", "model", "times the best", "cells"),
        tuple((impl, model, f"{ratio:.2f}", str(count)) for impl, model, ratio, count in points),
    )
    return (figure,)


def _chart(styles: Sequence[SeriesStyle], order: Sequence[str], drawn: Sequence[float]) -> Chart:
    scale = alt.Scale(type="log", nice=False, padding=10)
    axis = alt.Axis(format="~g", values=choose_grid_lines(drawn))
    down = alt.Y("who:N", title=None, sort=list(order), axis=alt.Axis(labelLimit=150, grid=True))
    across = alt.X("ratio:Q", title="times the best (1 is the best)", scale=scale, axis=axis)
    middle = (
        empty_chart()
        .mark_tick(thickness=3, size=18, color="currentColor", opacity=0.7)
        .encode(
            alt.X(
                "median(ratio):Q",
                title="times the best (1 is the best)",
                scale=scale,
                axis=axis,
            ),
            down,
        )
    )
    points = (
        empty_chart()
        .mark_point(filled=True, size=70, opacity=0.85)
        .encode(across, down, encode_colour(styles), encode_shape(styles), alt.Tooltip("tip:N"))
    )
    return alt.layer(middle, points)
