"""Roofline charts: the rate of each implementation against the ceilings of its node."""

from collections.abc import Iterable, Sequence

import altair as alt

from velodrome.agents.task import device_name
from velodrome.scheduler.reports.cell_keys import Implementation
from velodrome.scheduler.reports.html.figures import chart as charts
from velodrome.scheduler.reports.html.formatting import show_count, truncate
from velodrome.scheduler.reports.roofline import Roofline, RooflinePoint
from velodrome.scheduler.results.sanitizing import in_one_line

FILLS = {"forward": 0.0, "inference": 0.25, "gradient": 0.9, "step": 0.6}  # of points, by phase
MOST = 6
MOST_POINTS = 400
GIGA = 1e9
BEYOND = 2.0  # the roof extends past the outermost points by this factor


def plot_rooflines(
    found: Iterable[Roofline], styles: Sequence[charts.SeriesStyle]
) -> tuple[charts.ChartFigure, ...]:
    """Plot each node with a point, those with both ceilings first."""
    drawn = sorted(
        (roof for roof in found if roof.points),
        key=lambda roof: (roof.ridge is None, -len(roof.points)),
    )
    return tuple(_build_figure(roof, styles, number) for number, roof in enumerate(drawn[:MOST]))


def _build_figure(
    roof: Roofline, styles: Sequence[charts.SeriesStyle], number: int
) -> charts.ChartFigure:
    points = roof.points[:MOST_POINTS]
    rows: list[charts.ChartRow] = [
        {
            "who": Implementation(point.framework, point.variant).label,
            "phase": point.phase,
            "intensity": point.intensity,
            "rate": point.flops_per_s / GIGA,
            "tip": _format_tip(roof, point),
        }
        for point in points
    ]
    rows += _compute_roof(roof)
    place = roof.place
    where = ", ".join(
        filter(
            None,
            (
                roof.hardware,
                in_one_line(device_name(place.device, place.gpu_count or place.processes, "")),
                show_count(place.threads, "thread"),
                in_one_line(place.computes_in),
            ),
        )
    )
    return charts.ChartFigure(
        f"figure-roof-{number}",
        roof.hostname or roof.node_id,
        f"{where}: {_format_ceilings(roof)}",
        charts.build_spec(_build_chart(styles, rows), rows, 300),
        ("framework", "model", "phase", "FLOP per byte", "GFLOP/s", "of the roof"),
        tuple(_format_line(roof, point) for point in points),
    )


def _compute_roof(roof: Roofline) -> list[charts.ChartRow]:
    """Compute the roof at both ends and at its ridge."""
    across = [point.intensity for point in roof.points] + ([roof.ridge] if roof.ridge else [])
    ends = [min(across) / BEYOND, max(across) * BEYOND]
    ridge = [roof.ridge] if roof.ridge and ends[0] < roof.ridge < ends[1] else []
    return [
        {"intensity": at, "roof": height / GIGA}
        for at in sorted([*ends, *ridge])
        if (height := roof.roof(at)) is not None
    ]


def _format_ceilings(roof: Roofline) -> str:
    flops = f"{roof.flops.per_s / GIGA:.0f} GFLOP/s" if roof.flops else "no gemm measured"
    copied = f"{roof.bytes.per_s / GIGA:.1f} GB/s" if roof.bytes else "no copy measured"
    linked = f", {roof.bus.bus_bytes_per_s / GIGA:.1f} GB/s between devices" if roof.bus else ""
    return f"{flops}, {copied}{linked}"


def _format_share(roof: Roofline, point: RooflinePoint) -> str:
    height = roof.roof(point.intensity)
    return f"{100 * point.flops_per_s / height:.0f} %" if height else "unknown"


def _format_tip(roof: Roofline, point: RooflinePoint) -> str:
    impl = Implementation(point.framework, point.variant).label
    rate = f"{point.flops_per_s / GIGA:.3g} GFLOP/s, {_format_share(roof, point)} of the roof"
    return f"{impl}, {point.model} b{point.batch_size}, {point.phase}: {rate}"


def _format_line(roof: Roofline, point: RooflinePoint) -> tuple[str, ...]:
    return (
        Implementation(point.framework, point.variant).label,
        truncate(f"{point.model} b{point.batch_size}"),
        point.phase,
        f"{point.intensity:.3g}",
        f"{point.flops_per_s / GIGA:.3g}",
        _format_share(roof, point),
    )


def _build_chart(
    styles: Sequence[charts.SeriesStyle], rows: Sequence[charts.ChartRow]
) -> charts.Chart:
    log = alt.Scale(type="log", nice=False, padding=10)
    along = _build_axis(rows, ("intensity",))
    high = _build_axis(rows, ("rate", "roof"))
    across = alt.X("intensity:Q", title="FLOP per byte", scale=log, axis=along)
    up = alt.Y("rate:Q", title="GFLOP/s", scale=log, axis=high)
    roof = (
        charts.make_chart()
        .mark_line(strokeWidth=2.5, color="currentColor", opacity=0.8)
        .encode(across, alt.Y("roof:Q", title="GFLOP/s", scale=log, axis=high))
    )
    filled = alt.FillOpacity(
        "phase:O", scale=alt.Scale(domain=[*FILLS], range=[*FILLS.values()]), legend=None
    )
    points: charts.Chart = (
        charts.make_chart()
        .mark_point(size=60, opacity=1, strokeWidth=1.5)
        .encode(
            across,
            up,
            charts.encode_colour(styles),
            alt.Fill("who:N", scale=charts.build_colour_scale(styles), legend=None),
            charts.encode_shape(styles),
            filled,
            alt.Tooltip("tip:N"),
        )
    )
    has_roof = any("roof" in row for row in rows)
    return alt.layer(roof, points) if has_roof else points


def _build_axis(rows: Sequence[charts.ChartRow], columns: Sequence[str]) -> alt.Axis:
    known = [value for row in rows for column in columns if (value := row.get(column))]
    return alt.Axis(values=charts.choose_grid_lines(float(value) for value in known), format="~g")
