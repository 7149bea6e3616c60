"""Charts of the energy per gradient, for the cells whose energy is known."""

import statistics
from collections.abc import Sequence

import altair as alt

from velodrome.scheduler.reports.cell_keys import Implementation, Workload, implementation_order
from velodrome.scheduler.reports.html.figures import chart as charts
from velodrome.scheduler.reports.html.formatting import (
    format_hardware,
    format_platform,
    format_workload,
    join_names,
)
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells
from velodrome.scheduler.results.typed_rows import TaskRow

MOST = 12
ROW_HEIGHT = 26
MARGIN = 30
COLUMN = "energy_per_gradient_j"


def plot_energy(
    groups: Sequence[PlatformCells], styles: Sequence[charts.SeriesStyle]
) -> tuple[charts.ChartFigure, ...]:
    """Plot each platform and workload with known energy."""
    found: list[charts.ChartFigure] = []
    for group in groups:
        for workload in group.workloads:
            joules = _find_joules(group, workload)
            if joules and len(found) < MOST:
                found.append(_build_figure(group, workload, joules, styles, len(found)))
    return tuple(found)


def _find_joules(
    group: PlatformCells, workload: Workload
) -> dict[Implementation, tuple[float, str]]:
    """Return the median over repeats and its source."""
    found = {}
    for (other, impl), rows in group.rows.items():
        measured = [(j, _read_source(row)) for row in rows if (j := row.number(COLUMN)) is not None]
        if measured and other == workload:
            middle = statistics.median(joules for joules, _ in measured)
            found[impl] = (middle, join_names(sorted({source for _, source in measured})))
    return found


def _read_source(row: TaskRow) -> str:
    return row.energy_source or "unknown source"


def _build_figure(
    group: PlatformCells,
    workload: Workload,
    joules: dict[Implementation, tuple[float, str]],
    styles: Sequence[charts.SeriesStyle],
    number: int,
) -> charts.ChartFigure:
    order = sorted(joules, key=implementation_order)
    rows: list[charts.ChartRow] = [
        {
            "who": impl.label,
            "joules": joules[impl][0],
            "tip": f"{impl.label}: {joules[impl][0]:.3g} J, {joules[impl][1]}",
        }
        for impl in order
    ]
    labels = [impl.label for impl in order]
    return charts.ChartFigure(
        f"figure-energy-{number}",
        format_workload(workload),
        f"{format_hardware(group.platform)}, {format_platform(group.platform)}",
        charts.build_spec(_build_chart(styles, labels), rows, MARGIN + ROW_HEIGHT * len(order)),
        ("framework", "energy", "source"),
        tuple((impl.label, f"{joules[impl][0]:.3g} J", joules[impl][1]) for impl in order),
    )


def _build_chart(styles: Sequence[charts.SeriesStyle], order: Sequence[str]) -> charts.Chart:
    down = alt.Y("who:N", title=None, sort=list(order), axis=alt.Axis(labelLimit=150))
    bars: charts.Chart = (
        charts.make_chart()
        .mark_bar(size=14)
        .encode(
            alt.X("joules:Q", title="J per gradient"),
            down,
            charts.encode_colour(styles),
            alt.Tooltip("tip:N"),
        )
    )
    return bars
