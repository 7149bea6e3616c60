"""The chart of a speed-up against a number of resources, with the ideal speed-up."""

from collections.abc import Iterable, Sequence

import altair as alt

from velodrome.scheduler.reports.html.figures import chart as charts

IDEAL = "ideal speedup"


def build_ideal_rows(counts: Iterable[int], name: str) -> list[charts.ChartRow]:
    """Build the rows of the ideal line, which starts at the smallest number. name: a column."""
    numbers = sorted(counts)
    return [
        {"who": IDEAL, name: count, "ideal": count / numbers[0], "tip": IDEAL} for count in numbers
    ]


def build_speedup_chart(
    styles: Sequence[charts.SeriesStyle],
    rows: Sequence[charts.ChartRow],
    counts: Sequence[int],
    name: str,
) -> charts.Chart:
    """Build the chart of rows with `who`, the column `name`, `speedup`, and `ideal` or `tip`.

    `low` and `high`, where a row has them, are drawn as a bar.
    """
    across = alt.X(
        f"{name}:Q",
        title=name,
        scale=alt.Scale(type="log", base=2, nice=False, padding=12),
        axis=alt.Axis(values=list(counts), format="d", grid=False),
    )
    up = alt.Y("speedup:Q", title="speedup")
    ideal = (
        charts.make_chart()
        # The rows of the other layers would break the line: they have no such value.
        .transform_filter(alt.FieldValidPredicate(field="ideal", valid=True))
        .mark_line(strokeDash=[2, 4], color="currentColor", opacity=0.5)
        .encode(across, alt.Y("ideal:Q"))
    )
    bars = (
        charts.make_chart()
        .mark_rule(strokeWidth=1.5)
        .encode(across, alt.Y("low:Q"), alt.Y2("high:Q"), charts.encode_colour(styles))
    )
    lines = (
        charts.make_chart()
        .mark_line(strokeWidth=2)
        .encode(across, up, charts.encode_colour(styles), charts.encode_dash(styles))
    )
    points = (
        charts.make_chart()
        .mark_point(filled=True, size=60, opacity=1)
        .encode(
            across,
            up,
            charts.encode_colour(styles),
            charts.encode_shape(styles),
            alt.Tooltip("tip:N"),
        )
    )
    # The browser warns of a layer in which no row has a value.
    has_bars = any(row.get("low") is not None for row in rows)
    return alt.layer(ideal, *([bars] if has_bars else []), lines, points)
