"""Rows for tests of reports, and the reports of rows as text."""

import io
from pathlib import Path

import pytest
from made_rows import typed
from rich.console import Console

from velodrome.scheduler.commands.report import Form, ReportKind, report
from velodrome.scheduler.reports.cell_rows import build_cell_row, list_column_phases
from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.csv_markdown import to_csv
from velodrome.scheduler.reports.render import render_tables
from velodrome.scheduler.reports.tables import Table, build_table


def row(framework: str = "torch", model: str = "lenet", **changes: object) -> dict[str, object]:
    """A row of the `tasks` table with a number, unless changed."""
    plain: dict[str, object] = {
        "task_id": f"{framework}-{model}",
        "repeat": 0,
        "attempt": 1,
        "status": "ok",
        "reason": "",
        "rerun": f"velodrome measure {framework} {model}",
        "framework": framework,
        "variant": "plain",
        "model": model,
        "batch_size": 64,
        "device": "cpu",
        "threads": 1,
        "dtype": "float32",
        "node_type": "t1",
        "cpu_model": "Some CPU",
        "gpu_name": "",
        "forward_median_ns": 1e6,
        "forward_low_ns": 0.99e6,
        "forward_high_ns": 1.01e6,
        "gradient_median_ns": 3e6,
        "gradient_low_ns": 2.9e6,
        "gradient_high_ns": 3.1e6,
        "verified": True,
        "stable": True,
        "gradient_error": 1e-6,
        "peak_rss_bytes": 10**8,
        "cpu_percent_mean": 99.0,
    }
    return plain | changes


def failed_row(framework: str, **changes: object) -> dict[str, object]:
    nothing = {name: None for name in row() if name.endswith("_ns")}
    crashed = {
        "status": "crashed",
        "reason": "killed by SIGSEGV",
        "verified": False,
        "stable": False,
    }
    return row(framework, **(nothing | crashed | changes))


def read_report(
    results: Path, kind: ReportKind, form: Form, capsys: pytest.CaptureFixture[str]
) -> str:
    """Return what `velodrome report` prints; it must end with status 0."""
    assert report(results, "", kind, form, None).status == 0
    return capsys.readouterr().out


def render_terminal(rows: list[dict[str, object]]) -> str:
    return draw_tables(make_tables(rows))


def draw_tables(tables: list[Table], first: str = "") -> str:
    screen = Console(width=140, file=io.StringIO())
    with screen.capture() as capture:
        screen.print(render_tables(tables, first))
    return capture.get()


def make_tables(rows: list[dict[str, object]]) -> list[Table]:
    return [build_table(platform, cells) for platform, cells in collect_cells(typed(rows)).items()]


def render_csv(rows: list[dict[str, object]]) -> str:
    found = [
        (platform, workload, impl, cell)
        for platform, cells in collect_cells(typed(rows)).items()
        for (workload, impl), cell in cells.items()
    ]
    phases = list_column_phases(cell for *_, cell in found)
    return to_csv([build_cell_row(*each, phases) for each in found])


def six_rows(framework: str = "torch", **changes: object) -> list[dict[str, object]]:
    """Six processes of a cell that differ by 1 % in all."""
    return [row(framework, repeat=n, **{**scale_times(1 + 0.002 * n), **changes}) for n in range(6)]


def scale_times(by: float) -> dict[str, object]:
    return {name: value * by for name, value in row().items() if name.endswith("_ns")}
