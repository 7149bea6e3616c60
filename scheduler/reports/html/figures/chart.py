"""One figure: what is drawn, and the same as a table for whom a drawing does not serve.

Charts are written with Altair and kept as Vega-Lite specifications without data and style: rows are
put in last (Altair checks every value, for seconds), colours are variables of the style sheet.
Names that others chose are values of rows and of scales, never parts of an expression.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from velodrome.scheduler.reports.html.palette import SeriesStyle

HEIGHT = 220

Value = str | float | int | None
ChartRow = Mapping[str, Value]
Chart = alt.Chart | alt.LayerChart | alt.FacetChart


@dataclass(frozen=True)
class ChartFigure:
    """columns: titles of table; spec: Vega-Lite, as plain JSON values. subtitle: where it ran."""

    id: str
    title: str
    subtitle: str
    spec: Mapping[str, object]
    columns: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class FigureSection:
    """One kind of figure. without: why there is none, where there is none. query: its rows."""

    id: str
    title: str
    caption: str
    figures: tuple[ChartFigure, ...]
    without: str
    query: str


def spec(chart: Chart, rows: Iterable[ChartRow], height: int = HEIGHT) -> dict[str, object]:
    """As wide as its place. rows: for every layer that has no rows of its own."""
    sized = chart.properties(width="container", height=height)
    found = _without_data(sized.to_dict(validate=False))  # tests do: it takes 0.1 s a chart
    for name in ("$schema", "config", "datasets"):
        found.pop(name, None)
    found["data"] = {"values": [_known(row) for row in rows]}
    return found


def _without_data(part: Mapping[str, object]) -> dict[str, object]:
    """Layers, too: all draw the figure's rows."""
    found = {name: value for name, value in part.items() if name != "data"}
    layers = part.get("layer")
    if isinstance(layers, list):
        found["layer"] = [_without_data(layer) for layer in layers]
    return found


def _known(row: ChartRow) -> dict[str, Value]:
    """What no axis holds is left out."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def empty() -> alt.Chart:
    """To be drawn from the figure's rows."""
    return alt.Chart()


def colour(marks: Sequence[SeriesStyle]) -> alt.Color:
    """Of the column `who`; the page has one legend for all figures."""
    return alt.Color("who:N", scale=scale_of_colours(marks), legend=None)


def scale_of_colours(marks: Sequence[SeriesStyle]) -> alt.Scale:
    return alt.Scale(domain=[mark.label for mark in marks], range=[mark.colour for mark in marks])


def shape(marks: Sequence[SeriesStyle]) -> alt.Shape:
    scale = alt.Scale(domain=[mark.label for mark in marks], range=[mark.shape for mark in marks])
    return alt.Shape("who:N", scale=scale, legend=None)


def dash(marks: Sequence[SeriesStyle]) -> alt.StrokeDash:
    dashes = [list(mark.dash) for mark in marks]
    scale = alt.Scale(domain=[mark.label for mark in marks], range=dashes)
    return alt.StrokeDash("who:N", scale=scale, legend=None)


def decades(values: Iterable[float]) -> list[float]:
    """Where a logarithmic axis has lines: 1, 2, 5, 10, ... or sparser, over what is drawn."""
    drawn = [value for value in values if 0 < value < math.inf]
    if not drawn:
        return [1.0]
    first, last = math.floor(math.log10(min(drawn))), math.ceil(math.log10(max(drawn)))
    steps = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 4 else (1,)
    lines = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [line for line in lines if min(drawn) / 3 <= line <= max(drawn) * 3]
