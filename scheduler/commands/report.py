"""Command `report`: a sweep's results in the terminal, as Markdown, CSV, JSON or a picture."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.text import Text

from velodrome.scheduler.commands import incomplete_results
from velodrome.scheduler.commands.incomplete_results import describe_unfinished
from velodrome.scheduler.commands.output import (
    console,
    draw_svg,
    make_table,
    print_json,
    print_lines,
)
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.next_commands import NAME, format_command
from velodrome.scheduler.reports import (
    ceilings_text,
    core_utilization_text,
    extensibility_text,
    outliers_text,
)
from velodrome.scheduler.reports.cell_keys import Implementation, Platform, Workload
from velodrome.scheduler.reports.cell_rows import build_cell_row, list_column_phases
from velodrome.scheduler.reports.cell_work import GridUnit, parse_unit
from velodrome.scheduler.reports.cells import CellResult, collect_cells
from velodrome.scheduler.reports.core_utilization import summarize_core_use
from velodrome.scheduler.reports.csv_markdown import escape_markdown, to_csv, to_markdown
from velodrome.scheduler.reports.extensibility import build_grids, collect_outcomes
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.reports.interference_summary import describe_interference
from velodrome.scheduler.reports.outliers import collect_task_times, find_outliers
from velodrome.scheduler.reports.precision_ratios import build_tables
from velodrome.scheduler.reports.process_variation import read_cell_history
from velodrome.scheduler.reports.render import render_markdown, render_tables
from velodrome.scheduler.reports.roofline import build_rooflines
from velodrome.scheduler.reports.tables import Table
from velodrome.scheduler.reports.terminal_tables import UnwrappedLine
from velodrome.scheduler.results.derived_columns import fill_ceilings
from velodrome.scheduler.results.rate_columns import add_rates
from velodrome.scheduler.results.schema import WITHOUT_CHECKS
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows

Rows = list[TaskRow]


class Form(Enum):
    """Output form of a report."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


class ReportKind(Enum):
    """Subject of a report."""

    TIMES = "times"
    EXTENSIBILITY = "extensibility"
    UTILIZATION = "utilization"
    OUTLIERS = "outliers"
    CEILINGS = "ceilings"


Choice = TypeVar("Choice", Form, ReportKind)


def choose_form(is_markdown: bool, is_csv: bool, is_json: bool) -> Form:  # noqa: FBT001 - three flags of the command line
    """Return the requested form; ConfigError for two."""
    flags = {Form.MARKDOWN: is_markdown, Form.CSV: is_csv, Form.JSON: is_json}
    return _choose_one(flags, Form.TERMINAL)


def choose_kind(
    is_extensibility: bool,  # noqa: FBT001 - flags of the command line, as the next ones
    is_utilization: bool,  # noqa: FBT001
    is_outlier: bool = False,  # noqa: FBT001, FBT002
    is_ceilings: bool = False,  # noqa: FBT001, FBT002
) -> ReportKind:
    """Return the requested kind; ConfigError for two."""
    flags = {
        ReportKind.EXTENSIBILITY: is_extensibility,
        ReportKind.UTILIZATION: is_utilization,
        ReportKind.OUTLIERS: is_outlier,
        ReportKind.CEILINGS: is_ceilings,
    }
    return _choose_one(flags, ReportKind.TIMES)


def choose_unit(text: str, kind: ReportKind) -> GridUnit:
    """Return the requested unit of the grid; ConfigError if it is unknown, or without a grid."""
    if text and kind is not ReportKind.TIMES:
        raise ConfigError("command line", f"--unit has no use in --{kind.value}", "Omit one.")
    return parse_unit(text)


def _choose_one(flags: Mapping[Choice, bool], otherwise: Choice) -> Choice:
    chosen = [choice for choice, flag in flags.items() if flag]
    if len(chosen) > 1:
        names = " and ".join(f"--{choice.value}" for choice in chosen)
        raise ConfigError("command line", f"{names} exclude each other", "Give one.")
    return chosen[0] if chosen else otherwise


@dataclass(frozen=True)
class Rendering:
    """A report in every form, made on demand."""

    flat: Sequence[Mapping[str, object]] | None  # for JSON; None: the rows of `tasks`
    csv: Callable[[], str]
    markdown: Callable[[], str]
    rich: Callable[[], RenderableType]


@dataclass(frozen=True)
class ReportResult:
    """Rows of a printed report. status: INCOMPLETE if some are missing."""

    rows: Sequence[TaskRow]
    status: int


def report(
    results: str | Path,
    sweep_id: str,
    kind: ReportKind,
    form: Form,
    picture: Path | None,
    unit: GridUnit = GridUnit.TIME,
) -> ReportResult:
    """Print a report. unit: of the grid.

    ConfigError without results, without this sweep, or with nothing of this kind.
    """
    render = partial(_render_times, unit=unit) if kind is ReportKind.TIMES else _RENDERERS[kind]
    store = Store.for_reading(results)
    chosen_id = store.resolve(sweep_id or "last")
    columns = None if form is Form.JSON else WITHOUT_CHECKS
    table = drop_impossible_values(store.read("tasks", chosen_id, columns))
    table = fill_ceilings(table, store.ceilings(chosen_id))
    rows = task_rows(table.select(WITHOUT_CHECKS))
    try:
        rendering = render(rows, store, chosen_id)
    finally:  # missing rows may be the reason for an error above
        incomplete_results.warn_of_faults(store.faults, results)
    missing = incomplete_results.describe_missing(store.faults, [chosen_id])
    unfinished = describe_unfinished(store, chosen_id, results)
    if unfinished and form in (Form.JSON, Form.CSV):
        sys.stderr.write(f"velodrome: {unfinished}\n")
    if form is Form.JSON:
        print_json(add_rates(table).to_pylist() if rendering.flat is None else rendering.flat)
    elif form is Form.CSV:
        print(rendering.csv(), end="")
    elif form is Form.MARKDOWN:
        first = "".join(
            f"**{escape_markdown(text)}**\n\n" for text in (missing, unfinished) if text
        )
        print(first + rendering.markdown(), end="")
    else:
        screen = rendering.rich()
        if missing:
            screen = Group(Text(missing, style="bold red"), screen)
        if unfinished:
            screen = Group(UnwrappedLine(unfinished, "bold yellow"), screen)
        console().print(screen, crop=False)
        flags = [] if kind is ReportKind.TIMES else [f"--{kind.value}"]
        flags += ["--unit", unit.value] if unit is not GridUnit.TIME else []
        words = ("report", "--results", str(results), "--sweep", chosen_id, *flags)
        if picture is not None:
            draw_svg(screen, picture, shlex.join((NAME, *words)))
            print_lines(f"wrote {picture}")
        following = format_command(*words, "--markdown")
        print_lines(f"sweep {chosen_id}: {len(rows)} rows in {results}; next: {following}")
    return ReportResult(rows, incomplete_results.exit_status(store.faults, [chosen_id]))


def outlier_status(rows: Sequence[TaskRow]) -> int:
    """Return exit status 1 if a machine is an outlier, else 0."""
    return 1 if find_outliers(collect_task_times(rows)) else 0


def _render_times(
    rows: Rows, store: Store, sweep_id: str, unit: GridUnit = GridUnit.TIME
) -> Rendering:
    cells_by_platform = collect_cells(rows, read_cell_history(store, sweep_id))
    first = describe_interference(rows)
    tables = build_tables(cells_by_platform, unit)
    outlier = outliers_text.summarize_outliers(find_outliers(collect_task_times(rows)))
    return Rendering(
        None,
        lambda: _write_csv(_flatten(cells_by_platform)),
        lambda: (
            render_markdown(tables, first, unit)
            + (f"\n{escape_markdown(outlier)}\n" if outlier else "")
        ),
        lambda: Group(
            render_tables(tables, first, unit),
            *([Text(outlier, style="bold red")] if outlier else []),
        ),
    )


def _write_csv(cells: Sequence[tuple[Platform, Workload, Implementation, CellResult]]) -> str:
    phases = list_column_phases(cell for *_, cell in cells)
    return to_csv([build_cell_row(*entry, phases) for entry in cells])


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
    tops = (ceilings_text.build_ceiling_rows(found), ceilings_text.CEILINGS_LEFT)
    points = (ceilings_text.build_efficiency_rows(found), ceilings_text.POINTS_LEFT)
    legend = ceilings_text.LEGEND
    return Rendering(
        flat,
        lambda: to_csv(flat),
        lambda: "\n".join((to_markdown(*tops), to_markdown(*points), f"{legend}\n")),
        lambda: Group(make_table(*tops), Text(""), make_table(*points), Text(legend, style="dim")),
    )


_RENDERERS = {
    ReportKind.TIMES: _render_times,
    ReportKind.EXTENSIBILITY: _render_extensibility,
    ReportKind.UTILIZATION: _render_utilization,
    ReportKind.OUTLIERS: _render_outliers,
    ReportKind.CEILINGS: _render_ceilings,
}


def print_tables(tables: list[Table], first: str) -> None:
    """Print tables. first: a warning above all numbers."""
    console().print(render_tables(tables, first), crop=False)


def _flatten(
    cells_by_platform: dict[Platform, dict[tuple[Workload, Implementation], CellResult]],
) -> list[tuple[Platform, Workload, Implementation, CellResult]]:
    return [
        (platform, workload, impl, cell)
        for platform, cells in cells_by_platform.items()
        for (workload, impl), cell in cells.items()
    ]
