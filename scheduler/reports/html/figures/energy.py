"""Charts of the energy per gradient, for the cells whose energy is known."""

import statistics
from collections.abc import Sequence

import altair as alt

from velodrome.scheduler.reports.cell_keys import Implementation, Workload, implementation_order
from velodrome.scheduler.reports.html.figures.chart import (
    Chart,
    ChartFigure,
    ChartRow,
    SeriesStyle,
    build_spec,
    empty_chart,
    encode_colour,
)
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
    groups: Sequence[PlatformCells], styles: Sequence[SeriesStyle]
) -> tuple[ChartFigure, ...]:
    """Plot each platform and workload with known energy."""
    found: list[ChartFigure] = []
    for group in groups:
        for workload in group.workloads:
            joules = _joules(group, workload)
            if joules and len(found) < MOST:
                found.append(_figure(group, workload, joules, styles, len(found)))
    return tuple(found)


def _joules(group: PlatformCells, workload: Workload) -> dict[Implementation, tuple[float, str]]:
    """Return the median over repeats and its source."""
    found = {}
    for (one, impl), rows in group.rows.items():
        known = [(j, _source(row)) for row in rows if (j := row.number(COLUMN)) is not None]
        if known and one == workload:
            middle = statistics.median(joules for joules, _ in known)
            found[impl] = (middle, join_names(sorted({source for _, source in known})))
    return found


def _source(row: TaskRow) -> str:
    return row.energy_source or "unknown source"


def _figure(
    group: PlatformCells,
    workload: Workload,
    joules: dict[Implementation, tuple[float, str]],
    styles: Sequence[SeriesStyle],
    number: int,
) -> ChartFigure:
    order = sorted(joules, key=implementation_order)
    rows: list[ChartRow] = [
        {
            "who": impl.label,
            "joules": joules[impl][0],
            "tip": f"{impl.label}: {joules[impl][0]:.3g} J, {joules[impl][1]}",
        }
        for impl in order
    ]
    labels = [impl.label for impl in order]
    return ChartFigure(
        f"figure-energy-{number}",
        format_workload(workload),
        f"{format_hardware(group.platform)}, {format_platform(group.platform)}",
        build_spec(_chart(styles, labels), rows, MARGIN + ROW_HEIGHT * len(order)),
        ("framework", "energy", "source"),
        tuple((impl.label, f"{joules[impl][0]:.3g} J", joules[impl][1]) for impl in order),
    )


def _chart(styles: Sequence[SeriesStyle], order: Sequence[str]) -> Chart:
    down = alt.Y("who:N", title=None, sort=list(order), axis=alt.Axis(labelLimit=150))
    bars: Chart = (
        empty_chart()
        .mark_bar(size=14)
        .encode(
            alt.X("joules:Q", title="J per gradient"),
            down,
            encode_colour(styles),
            alt.Tooltip("tip:N"),
        )
    )
    return bars
