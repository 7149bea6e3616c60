"""Command `report`: a sweep's results in the terminal, as Markdown, CSV, JSON or a picture."""

import shlex
import sys
from collections.abc import Mapping, Sequence
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
    print_json,
    print_lines,
)
from velodrome.scheduler.commands.report_kinds import (
    RENDERERS,
    Rendering,
    ReportKind,
    Rows,
    draw_scaling,
    write_scaling,
)
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.next_commands import NAME, format_command
from velodrome.scheduler.reports import outliers_text, scaling_text
from velodrome.scheduler.reports.cell_keys import Implementation, Platform, Workload
from velodrome.scheduler.reports.cell_rows import build_cell_row, list_column_phases
from velodrome.scheduler.reports.cell_work import GridUnit, parse_unit
from velodrome.scheduler.reports.cells import CellResult, collect_cells
from velodrome.scheduler.reports.csv_markdown import escape_markdown, to_csv
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.reports.mixed_builds import warn_first
from velodrome.scheduler.reports.outliers import collect_task_times, find_outliers
from velodrome.scheduler.reports.precision_ratios import build_tables
from velodrome.scheduler.reports.process_variation import read_cell_history
from velodrome.scheduler.reports.render import render_markdown, render_tables
from velodrome.scheduler.reports.scaling import ScalingResult, measure_scaling
from velodrome.scheduler.reports.tables import Table
from velodrome.scheduler.reports.terminal_tables import UnwrappedLine
from velodrome.scheduler.results.derived_columns import fill_ceilings
from velodrome.scheduler.results.rate_columns import add_rates
from velodrome.scheduler.results.schema import WITHOUT_CHECKS
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows


class Form(Enum):
    """Output form of a report."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


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
    is_scaling: bool = False,  # noqa: FBT001, FBT002
) -> ReportKind:
    """Return the requested kind; ConfigError for two."""
    flags = {
        ReportKind.EXTENSIBILITY: is_extensibility,
        ReportKind.UTILIZATION: is_utilization,
        ReportKind.OUTLIERS: is_outlier,
        ReportKind.CEILINGS: is_ceilings,
        ReportKind.SCALING: is_scaling,
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
    render = partial(_render_times, unit=unit) if kind is ReportKind.TIMES else RENDERERS[kind]
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
    first = warn_first(rows)
    tables = build_tables(cells_by_platform, unit)
    outlier = outliers_text.summarize_outliers(find_outliers(collect_task_times(rows)))
    scaling = measure_scaling(rows)
    return Rendering(
        None,
        lambda: _write_csv(_flatten(cells_by_platform)),
        lambda: (
            render_markdown(tables, first, unit)
            + (f"\n### {scaling_text.TITLE}\n\n{write_scaling(scaling)}" if scaling else "")
            + (f"\n{escape_markdown(outlier)}\n" if outlier else "")
        ),
        lambda: Group(
            render_tables(tables, first, unit),
            *(_draw_scaling_section(scaling) if scaling else []),
            *([Text(outlier, style="bold red")] if outlier else []),
        ),
    )


def _draw_scaling_section(found: ScalingResult) -> list[RenderableType]:
    return [Text(""), Text(scaling_text.TITLE, style="bold"), draw_scaling(found)]


def _write_csv(cells: Sequence[tuple[Platform, Workload, Implementation, CellResult]]) -> str:
    phases = list_column_phases(cell for *_, cell in cells)
    return to_csv([build_cell_row(*entry, phases) for entry in cells])


def print_tables(tables: list[Table], first: str, scaling: ScalingResult) -> None:
    """Print tables, then the speed-ups if there are any. first: a warning above all numbers."""
    section = _draw_scaling_section(scaling) if scaling else []
    console().print(Group(render_tables(tables, first), *section), crop=False)


def _flatten(
    cells_by_platform: dict[Platform, dict[tuple[Workload, Implementation], CellResult]],
) -> list[tuple[Platform, Workload, Implementation, CellResult]]:
    return [
        (platform, workload, impl, cell)
        for platform, cells in cells_by_platform.items()
        for (workload, impl), cell in cells.items()
    ]
