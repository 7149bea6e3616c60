"""How far every contestant is from the best, a point a model: the grid as one figure."""

from collections.abc import Sequence

import altair as alt

from velodrome.scheduler.reports.html.figures.chart import (
    Chart,
    ChartRow,
    Figure,
    colour,
    decades,
    empty,
    shape,
    spec,
)
from velodrome.scheduler.reports.html.overview import Overview
from velodrome.scheduler.reports.html.palette import Mark

ROW_HEIGHT = 26
MARGIN = 30


def distances(seen: Overview, marks: Sequence[Mark]) -> tuple[Figure, ...]:
    """None where nobody has anybody beside it."""
    points = [
        (who.label, model, one.ratio, one.with_number)
        for column, who in enumerate(seen.contestants)
        for model, places in seen.lines
        if (one := places[column]) and one.ratio is not None
    ]
    if len({who for who, *_ in points}) < 2:
        return ()
    order = [mark.label for mark in marks if mark.label in {who for who, *_ in points}]
    rows: list[ChartRow] = [
        {"who": who, "ratio": ratio, "tip": f"{who}, {model}: {ratio:.2f} times the best"}
        for who, model, ratio, _ in points
    ]
    figure = Figure(
        "figure-distance",
        "Times over the best of each line",
        "a point a model: the median over batch sizes, threads, devices; the bar is the middle",
        spec(
            _chart(marks, order, [ratio for _, _, ratio, _ in points]),
            rows,
            MARGIN + ROW_HEIGHT * len(order),
        ),
        ("contestant", "model", "times the best", "cells"),
        tuple((who, model, f"{ratio:.2f}", str(count)) for who, model, ratio, count in points),
    )
    return (figure,)


def _chart(marks: Sequence[Mark], order: Sequence[str], drawn: Sequence[float]) -> Chart:
    scale = alt.Scale(type="log", nice=False, padding=10)
    axis = alt.Axis(format="~g", values=decades(drawn))
    down = alt.Y("who:N", title=None, sort=list(order), axis=alt.Axis(labelLimit=150, grid=True))
    across = alt.X("ratio:Q", title="times the best (1 is the best)", scale=scale, axis=axis)
    middle = (
        empty()
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
        empty()
        .mark_point(filled=True, size=70, opacity=0.85)
        .encode(across, down, colour(marks), shape(marks), alt.Tooltip("tip:N"))
    )
    return alt.layer(middle, points)
