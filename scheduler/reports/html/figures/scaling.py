"""Charts of scaling over devices: the speed-up over one device, with the ideal speed-up."""

from collections.abc import Sequence

from velodrome.agents.phases import find_decisive
from velodrome.scheduler.reports.html.figures import chart as charts
from velodrome.scheduler.reports.html.figures.speedup import build_ideal_rows, build_speedup_chart
from velodrome.scheduler.reports.html.formatting import (
    format_platform,
    format_workload,
    show_duration,
)
from velodrome.scheduler.reports.scaling import ScalingPoint, ScalingResult, find_title
from velodrome.scheduler.reports.scaling_text import (
    format_efficiency,
    format_speedup,
    list_communication,
    tells_communication,
)
from velodrome.scheduler.sweeps.sweep import Scaling

MOST = 12
ONE = {Scaling.STRONG: "the same whole batch", Scaling.WEAK: "the same batch per device"}


def plot_scaling(
    found: ScalingResult, styles: Sequence[charts.SeriesStyle]
) -> tuple[charts.ChartFigure, ...]:
    """Plot each workload and kind of scaling, in the decisive of its phases."""
    groups: dict[object, list[ScalingPoint]] = {}
    for point in found.points:
        groups.setdefault(find_title(point), []).append(point)
    return tuple(
        _build_figure(_select_phase(points), styles, number)
        for number, points in enumerate(list(groups.values())[:MOST])
    )


def _select_phase(points: Sequence[ScalingPoint]) -> list[ScalingPoint]:
    decisive = find_decisive([point.phase for point in points])
    return [point for point in points if point.phase == decisive]


def _build_figure(
    points: Sequence[ScalingPoint], styles: Sequence[charts.SeriesStyle], number: int
) -> charts.ChartFigure:
    single, kind, workload = find_title(points[0])
    rows: list[charts.ChartRow] = []
    for who in dict.fromkeys(point.impl.label for point in points):
        first = next(point for point in points if point.impl.label == who)
        tip = f"{who}, one device: {show_duration(first.base_ns)}"
        rows.append({"who": who, "devices": 1, "speedup": 1.0, "tip": tip})
    rows += [_build_row(point) for point in points]
    counts = sorted({1, *(point.devices for point in points)})
    rows += build_ideal_rows(counts, "devices")
    more = list_communication(points[0]) if tells_communication(points) else {}
    return charts.ChartFigure(
        f"figure-scaling-{number}",
        f"{format_workload(workload)}, {kind.value}",
        f"{points[0].phase}, {ONE[kind]}; {format_platform(single)} each",
        charts.build_spec(build_speedup_chart(styles, rows, counts, "devices"), rows),
        ("framework", "devices", "one device", "time", "speedup", "efficiency", *more),
        tuple(
            (
                point.impl.label,
                str(point.devices),
                show_duration(point.base_ns),
                show_duration(point.time_ns),
                format_speedup(point),
                format_efficiency(point),
                *(list_communication(point).values() if more else ()),
            )
            for point in points
        ),
    )


def _build_row(point: ScalingPoint) -> charts.ChartRow:
    what = f"{point.impl.label}, {point.devices} devices: {show_duration(point.time_ns)}"
    return {
        "who": point.impl.label,
        "devices": point.devices,
        "speedup": point.speedup,
        "low": point.low,
        "high": point.high,
        "tip": f"{what}, {format_speedup(point)}, efficiency {format_efficiency(point)}",
    }
