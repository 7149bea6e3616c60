"""Charts of the HTML report: Vega-Lite specifications, each with the same values as a table.

Charts are written with Altair and kept as Vega-Lite specifications without data and style: rows are
added last (Altair checks every value, which takes seconds), colours are variables of the style
sheet: those of Okabe and Ito (Color Universal Design, 2008), in a light and a dark set. Shape and
dash repeat the colour's meaning. Names from rows are values of rows and of scales, never parts of
an expression.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from velodrome.scheduler.reports.cell_keys import Implementation

HEIGHT = 220
COLOURS = 7  # --series-0 ... --series-6 in style.css
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3))

Value = str | float | int | None
ChartRow = Mapping[str, Value]
Chart = alt.Chart | alt.LayerChart | alt.FacetChart


@dataclass(frozen=True)
class SeriesStyle:
    """The colour, shape and dash of one implementation. dash: lengths of line and gap."""

    label: str
    colour: str
    shape: str
    dash: tuple[int, ...]


@dataclass(frozen=True)
class ChartFigure:
    """One chart. spec: Vega-Lite as JSON; columns: titles of table; subtitle: where it ran."""

    id: str
    title: str
    subtitle: str
    spec: Mapping[str, object]
    columns: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class FigureSection:
    """One kind of figure. without: why there is no figure; query: the SQL of its rows."""

    id: str
    title: str
    caption: str
    figures: tuple[ChartFigure, ...]
    without: str
    query: str


def assign_styles(implementations: Sequence[Implementation]) -> tuple[SeriesStyle, ...]:
    """Give each implementation its framework's colour and shape and its variant's dash."""
    frameworks = list(dict.fromkeys(impl.framework for impl in implementations))
    variants: dict[str, int] = {}
    styles = []
    for impl in implementations:
        place = frameworks.index(impl.framework)
        variant = variants[impl.framework] = variants.get(impl.framework, -1) + 1
        colour = f"var(--series-{place % COLOURS})"
        shape = SHAPES[(place + place // COLOURS + variant) % len(SHAPES)]
        styles.append(SeriesStyle(impl.label, colour, shape, DASHES[variant % len(DASHES)]))
    return tuple(styles)


def build_spec(chart: Chart, rows: Iterable[ChartRow], height: int = HEIGHT) -> dict[str, object]:
    """Return the specification, as wide as its element. rows: of every layer without own rows."""
    sized = chart.properties(width="container", height=height)
    found = _drop_data(sized.to_dict(validate=False))  # tests do: it takes 0.1 s a chart
    for name in ("$schema", "config", "datasets"):
        found.pop(name, None)
    found["data"] = {"values": [_replace_infinite(row) for row in rows]}
    return found


def _drop_data(part: Mapping[str, object]) -> dict[str, object]:
    """Drop the data of the chart and of its layers: all draw the figure's rows."""
    found = {name: value for name, value in part.items() if name != "data"}
    layers = part.get("layer")
    if isinstance(layers, list):
        found["layer"] = [_drop_data(layer) for layer in layers]
    return found


def _replace_infinite(row: ChartRow) -> dict[str, Value]:
    """Replace NaN and infinity, which no axis shows, by null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def make_chart() -> alt.Chart:
    """Return a chart without data, to be drawn from the figure's rows."""
    return alt.Chart()


def encode_colour(styles: Sequence[SeriesStyle]) -> alt.Color:
    """Encode the column `who` as colour; the page has one legend for all figures."""
    return alt.Color("who:N", scale=build_colour_scale(styles), legend=None)


def build_colour_scale(styles: Sequence[SeriesStyle]) -> alt.Scale:
    return alt.Scale(
        domain=[style.label for style in styles], range=[style.colour for style in styles]
    )


def encode_shape(styles: Sequence[SeriesStyle]) -> alt.Shape:
    scale = alt.Scale(
        domain=[style.label for style in styles], range=[style.shape for style in styles]
    )
    return alt.Shape("who:N", scale=scale, legend=None)


def encode_dash(styles: Sequence[SeriesStyle]) -> alt.StrokeDash:
    dashes = [list(style.dash) for style in styles]
    scale = alt.Scale(domain=[style.label for style in styles], range=dashes)
    return alt.StrokeDash("who:N", scale=scale, legend=None)


def choose_grid_lines(values: Iterable[float]) -> list[float]:
    """Choose grid lines of a logarithmic axis: 1, 2, 5, 10, ... or sparser."""
    drawn = [value for value in values if 0 < value < math.inf]
    if not drawn:
        return [1.0]
    first, last = math.floor(math.log10(min(drawn))), math.ceil(math.log10(max(drawn)))
    steps = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 4 else (1,)
    lines = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [line for line in lines if min(drawn) / 3 <= line <= max(drawn) * 3]
