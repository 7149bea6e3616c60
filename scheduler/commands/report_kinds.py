"""Reports on other subjects than times, each in every form."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from rich.console import Group, RenderableType
from rich.text import Text

from velodrome.scheduler.commands.output import make_table
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports import (
    ceilings_text,
    core_utilization_text,
    extensibility_text,
    outliers_text,
    scaling_text,
)
from velodrome.scheduler.reports.core_utilization import summarize_core_use
from velodrome.scheduler.reports.csv_markdown import escape_markdown, to_csv, to_markdown
from velodrome.scheduler.reports.extensibility import build_grids, collect_outcomes
from velodrome.scheduler.reports.links import find_link_rates
from velodrome.scheduler.reports.outliers import collect_task_times, find_outliers
from velodrome.scheduler.reports.roofline import build_rooflines
from velodrome.scheduler.reports.scaling import ScalingResult, measure_scaling
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import TaskRow

Rows = list[TaskRow]


class ReportKind(Enum):
    """Subject of a report."""

    TIMES = "times"
    EXTENSIBILITY = "extensibility"
    UTILIZATION = "utilization"
    OUTLIERS = "outliers"
    CEILINGS = "ceilings"
    SCALING = "scaling"


@dataclass(frozen=True)
class Rendering:
    """A report in every form, made on demand."""

    flat: Sequence[Mapping[str, object]] | None  # for JSON; None: the rows of `tasks`
    csv: Callable[[], str]
    markdown: Callable[[], str]
    rich: Callable[[], RenderableType]


def _render_extensibility(rows: Rows, store: Store, sweep_id: str) -> Rendering:
    found = collect_outcomes(rows)
    if not found:
        mend = "Run sweeps/probes.yaml, or name its sweep with --sweep."
        raise ConfigError(sweep_id, "there is no probe in this sweep", mend)
    flat = extensibility_text.build_flat_rows(found)
    return Rendering(
        flat,
        lambda: to_csv(flat),
        lambda: extensibility_text.render_markdown_grids(build_grids(found)),
        lambda: extensibility_text.render_grids(build_grids(found)),
    )


def _render_utilization(rows: Rows, store: Store, sweep_id: str) -> Rendering:
    found = summarize_core_use(rows, store.read("utilization", sweep_id))
    if not found:
        raise ConfigError(sweep_id, "nothing was timed in this sweep", "Name one with --sweep.")
    flat = core_utilization_text.build_flat_rows(found)
    table = core_utilization_text.table_rows(found)
    left, legend = core_utilization_text.LEFT, core_utilization_text.LEGEND
    return Rendering(
        flat,
        lambda: to_csv(flat),
        lambda: f"{to_markdown(table, left)}\n{legend}\n",
        lambda: Group(make_table(table, left), Text(legend, style="dim")),
    )


def _render_outliers(rows: Rows, store: Store, sweep_id: str) -> Rendering:
    times = collect_task_times(rows)
    outliers = find_outliers(times)
    flat = outliers_text.build_flat_rows(outliers)
    table = outliers_text.table_rows(outliers)
    left, legend = outliers_text.LEFT, outliers_text.LEGEND
    summary = outliers_text.summarize_comparison(times, outliers)
    return Rendering(
        flat,
        lambda: to_csv(flat, outliers_text.COLUMNS),
        lambda: "\n\n".join(filter(None, (to_markdown(table, left), summary, f"{legend}\n"))),
        lambda: Group(make_table(table, left), Text(summary), Text(legend, style="dim")),
    )


def _render_ceilings(rows: Rows, store: Store, sweep_id: str) -> Rendering:
    found = build_rooflines(rows, store.ceilings(sweep_id))
    if not found:
        raise ConfigError(sweep_id, "nothing was timed in this sweep", "Name one with --sweep.")
    flat = ceilings_text.build_flat_rows(found)
    links = ceilings_text.build_link_rows(find_link_rates(select_last_attempts(rows)))
    tables = [
        (ceilings_text.build_ceiling_rows(found), ceilings_text.CEILINGS_LEFT),
        (links, ceilings_text.LINKS_LEFT),
        (ceilings_text.build_efficiency_rows(found), ceilings_text.POINTS_LEFT),
    ]
    shown = [table for table in tables if table[0]]
    legend = ceilings_text.LEGEND + (f" · {ceilings_text.LINKS_LEGEND}" if links else "")
    return Rendering(
        flat,
        lambda: to_csv(flat),
        lambda: "\n".join((*(to_markdown(*table) for table in shown), f"{legend}\n")),
        lambda: Group(*_space(make_table(*table) for table in shown), Text(legend, style="dim")),
    )


def _space(tables: Iterable[RenderableType]) -> Iterator[RenderableType]:
    """Yield tables with an empty line between each two."""
    for number, table in enumerate(tables):
        if number:
            yield Text("")
        yield table


def _render_scaling(rows: Rows, store: Store, sweep_id: str) -> Rendering:
    found = measure_scaling(rows)
    flat = scaling_text.build_flat_rows(found)
    return Rendering(
        flat,
        lambda: to_csv(flat, scaling_text.COLUMNS),
        lambda: write_scaling(found),
        lambda: draw_scaling(found),
    )


def draw_scaling(found: ScalingResult) -> RenderableType:
    """Draw the speed-ups over devices with their legend, and what has none."""
    parts: list[RenderableType] = []
    if table := scaling_text.table_rows(found):
        legend = Text(scaling_text.describe_legend(found), style="dim")
        parts = [make_table(table, scaling_text.LEFT), legend]
    return Group(*parts, *map(Text, scaling_text.list_remarks(found)))


def write_scaling(found: ScalingResult) -> str:
    """Write the speed-ups over devices as Markdown."""
    table = to_markdown(scaling_text.table_rows(found), scaling_text.LEFT)
    remarks = "\n".join(f"- {escape_markdown(line)}" for line in scaling_text.list_remarks(found))
    parts = (table, remarks, scaling_text.describe_legend(found) if table else "")
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


RENDERERS = {
    ReportKind.EXTENSIBILITY: _render_extensibility,
    ReportKind.UTILIZATION: _render_utilization,
    ReportKind.OUTLIERS: _render_outliers,
    ReportKind.CEILINGS: _render_ceilings,
    ReportKind.SCALING: _render_scaling,
}
