"""Charts of thread scaling: the speedup over the fewest threads, with the ideal speedup."""

from collections.abc import Sequence

from velodrome.scheduler.reports import cell_keys
from velodrome.scheduler.reports.cell_times import Time
from velodrome.scheduler.reports.html.figures import chart as charts
from velodrome.scheduler.reports.html.figures.speedup import build_ideal_rows, build_speedup_chart
from velodrome.scheduler.reports.html.formatting import format_workload, show_duration
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells

MOST = 12

Times = dict[cell_keys.Implementation, dict[int, Time]]


def plot_thread_scaling(
    groups: Sequence[PlatformCells], styles: Sequence[charts.SeriesStyle]
) -> tuple[charts.ChartFigure, ...]:
    """Plot each workload that was timed at two thread counts or more on one node type."""
    found: list[charts.ChartFigure] = []
    for where, workloads in _group_by_place(groups).items():
        for workload in sorted(workloads, key=cell_keys.workload_order):
            scaled = {impl: times for impl, times in workloads[workload].items() if len(times) > 1}
            if scaled and len(found) < MOST:
                found.append(_build_figure(where, workload, scaled, styles, len(found)))
    return tuple(found)


def _group_by_place(groups: Sequence[PlatformCells]) -> dict[str, dict[cell_keys.Workload, Times]]:
    found: dict[str, dict[cell_keys.Workload, Times]] = {}
    for group in groups:
        platform = group.platform
        where = ", ".join(
            filter(
                None, (platform.hardware, platform.node_type, platform.device_name, platform.dtype)
            )
        )
        for (workload, impl), cell in group.cells.items():
            if time := cell.decisive:
                times = found.setdefault(where, {}).setdefault(workload, {}).setdefault(impl, {})
                times[platform.threads] = time
    return found


def _build_figure(
    where: str,
    workload: cell_keys.Workload,
    found: Times,
    styles: Sequence[charts.SeriesStyle],
    number: int,
) -> charts.ChartFigure:
    rows: list[charts.ChartRow] = []
    table = []
    for impl in sorted(found, key=cell_keys.implementation_order):
        times = found[impl]
        fewest = min(times)
        for threads, time in sorted(times.items()):
            speedup = times[fewest].median_ns / time.median_ns if time.median_ns else 0.0
            ratio = f"{speedup:.2f}x the speed of {fewest}"
            tip = f"{impl.label}, {threads} threads: {show_duration(time.median_ns)}, {ratio}"
            rows.append({"who": impl.label, "threads": threads, "speedup": speedup, "tip": tip})
            table.append(
                (impl.label, str(threads), show_duration(time.median_ns), f"{speedup:.2f}")
            )
    counts = sorted({threads for times in found.values() for threads in times})
    rows += build_ideal_rows(counts, "threads")
    return charts.ChartFigure(
        f"figure-threads-{number}",
        format_workload(workload),
        where,
        charts.build_spec(build_speedup_chart(styles, rows, counts, "threads"), rows),
        ("framework", "threads", "time", "speedup"),
        tuple(table),
    )
