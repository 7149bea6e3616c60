"""Roofline charts: the rate of each implementation against the ceilings of its node."""

from collections.abc import Iterable, Sequence

import altair as alt

from velodrome.scheduler.reports.cell_keys import Implementation
from velodrome.scheduler.reports.html.figures.chart import (
    Chart,
    ChartFigure,
    ChartRow,
    SeriesStyle,
    build_spec,
    choose_grid_lines,
    colour_scale,
    empty_chart,
    encode_colour,
    encode_shape,
)
from velodrome.scheduler.reports.html.formatting import show_count, truncate
from velodrome.scheduler.reports.roofline import Roofline, RooflinePoint
from velodrome.scheduler.results.sanitizing import in_one_line

MOST = 6
MOST_POINTS = 400
GIGA = 1e9
BEYOND = 2.0  # the roof extends past the outermost points by this factor


def plot_rooflines(
    found: Iterable[Roofline], styles: Sequence[SeriesStyle]
) -> tuple[ChartFigure, ...]:
    """Plot each node with a point, those with both ceilings first."""
    drawn = sorted(
        (roof for roof in found if roof.points),
        key=lambda roof: (roof.ridge is None, -len(roof.points)),
    )
    return tuple(_figure(roof, styles, number) for number, roof in enumerate(drawn[:MOST]))


def _figure(roof: Roofline, styles: Sequence[SeriesStyle], number: int) -> ChartFigure:
    points = roof.points[:MOST_POINTS]
    rows: list[ChartRow] = [
        {
            "who": Implementation(one.framework, one.variant).label,
            "phase": one.phase,
            "intensity": one.intensity,
            "rate": one.flops_per_s / GIGA,
            "tip": _tip(roof, one),
        }
        for one in points
    ]
    rows += _roof_rows(roof)
    place = roof.place
    where = ", ".join(
        filter(
            None, (roof.hardware, in_one_line(place.device), show_count(place.threads, "thread"))
        )
    )
    return ChartFigure(
        f"figure-roof-{number}",
        roof.hostname or roof.node_id,
        f"{where}: {_ceilings(roof)}",
        build_spec(_chart(styles, rows), rows, 300),
        ("framework", "model", "phase", "FLOP per byte", "GFLOP/s", "of the roof"),
        tuple(_line(roof, one) for one in points),
    )


def _roof_rows(roof: Roofline) -> list[ChartRow]:
    """Compute the roof at both ends and at its ridge."""
    across = [one.intensity for one in roof.points] + ([roof.ridge] if roof.ridge else [])
    ends = [min(across) / BEYOND, max(across) * BEYOND]
    ridge = [roof.ridge] if roof.ridge and ends[0] < roof.ridge < ends[1] else []
    return [
        {"intensity": at, "roof": height / GIGA}
        for at in sorted([*ends, *ridge])
        if (height := roof.roof(at)) is not None
    ]


def _ceilings(roof: Roofline) -> str:
    flops = f"{roof.flops.per_s / GIGA:.0f} GFLOP/s" if roof.flops else "no gemm measured"
    copied = f"{roof.bytes.per_s / GIGA:.1f} GB/s" if roof.bytes else "no copy measured"
    return f"{flops}, {copied}"


def _share(roof: Roofline, one: RooflinePoint) -> str:
    height = roof.roof(one.intensity)
    return f"{100 * one.flops_per_s / height:.0f} %" if height else "unknown"


def _tip(roof: Roofline, one: RooflinePoint) -> str:
    impl = Implementation(one.framework, one.variant).label
    rate = f"{one.flops_per_s / GIGA:.3g} GFLOP/s, {_share(roof, one)} of the roof"
    return f"{impl}, {one.model} b{one.batch_size}, {one.phase}: {rate}"


def _line(roof: Roofline, one: RooflinePoint) -> tuple[str, ...]:
    return (
        Implementation(one.framework, one.variant).label,
        truncate(f"{one.model} b{one.batch_size}"),
        one.phase,
        f"{one.intensity:.3g}",
        f"{one.flops_per_s / GIGA:.3g}",
        _share(roof, one),
    )


def _chart(styles: Sequence[SeriesStyle], rows: Sequence[ChartRow]) -> Chart:
    log = alt.Scale(type="log", nice=False, padding=10)
    along = _axis(rows, ("intensity",))
    high = _axis(rows, ("rate", "roof"))
    across = alt.X("intensity:Q", title="FLOP per byte", scale=log, axis=along)
    up = alt.Y("rate:Q", title="GFLOP/s", scale=log, axis=high)
    roof = (
        empty_chart()
        .mark_line(strokeWidth=2.5, color="currentColor", opacity=0.8)
        .encode(across, alt.Y("roof:Q", title="GFLOP/s", scale=log, axis=high))
    )
    filled = alt.FillOpacity(
        "phase:O",
        scale=alt.Scale(domain=["forward", "gradient"], range=[0.0, 0.9]),
        legend=None,
    )
    points: Chart = (
        empty_chart()
        .mark_point(size=60, opacity=1, strokeWidth=1.5)
        .encode(
            across,
            up,
            encode_colour(styles),
            alt.Fill("who:N", scale=colour_scale(styles), legend=None),
            encode_shape(styles),
            filled,
            alt.Tooltip("tip:N"),
        )
    )
    has_roof = any("roof" in row for row in rows)
    return alt.layer(roof, points) if has_roof else points


def _axis(rows: Sequence[ChartRow], columns: Sequence[str]) -> alt.Axis:
    known = [value for row in rows for column in columns if (value := row.get(column))]
    return alt.Axis(values=choose_grid_lines(float(value) for value in known), format="~g")
