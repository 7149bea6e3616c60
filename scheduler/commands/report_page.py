"""Command `report --html`: a sweep as one HTML file that opens offline."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from velodrome.scheduler.commands import incomplete_results
from velodrome.scheduler.commands.output import print_lines
from velodrome.scheduler.commands.report import ReportResult
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.reports.acceptance.verdicts import UnitVerdict
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.reports.html import page_data
from velodrome.scheduler.reports.html.document import render_document
from velodrome.scheduler.reports.html.page import build_page
from velodrome.scheduler.reports.html.summary import Sentence
from velodrome.scheduler.reports.process_variation import read_cell_history
from velodrome.scheduler.results.atomic_files import open_owner_writable
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.task_row import velodrome_version
from velodrome.scheduler.results.typed_rows import TaskRow

MIB = 2**20


def write_page(
    results: str | Path,
    sweep_id: str,
    file: Path,
    unit: GridUnit = GridUnit.TIME,
) -> ReportResult:
    """Write the page. unit: of its grids.

    ConfigError without results, without this sweep, or if writing fails.
    """
    store = Store.for_reading(results)
    chosen = store.resolve(sweep_id or "last")
    rows = page_data.read_task_rows(store, chosen)
    text = render_page(store, chosen, results, rows, unit).encode(errors="replace")
    incomplete_results.warn_of_faults(store.faults, results)
    try:
        with open(file, "wb", opener=open_owner_writable) as target:
            target.write(text)
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise ConfigError(str(file), reason, "Name another file with --html.") from None
    print_lines(
        f"wrote {file} ({len(text) / MIB:.1f} MiB); open it in a browser, or send it to somebody",
        f"sweep {chosen}: {len(rows)} rows in {results}; "
        f"next: {format_command('report', '--results', results, '--sweep', chosen, '--markdown')}",
    )
    return ReportResult(rows, incomplete_results.exit_status(store.faults, [chosen]))


def render_page(
    store: Store,
    sweep_id: str,
    results: str | Path,
    rows: list[TaskRow],
    unit: GridUnit = GridUnit.TIME,
    verdicts: Sequence[UnitVerdict] | None = None,
) -> str:
    """Render the page. store: a reader. rows: the sweep's, from read_task_rows.

    verdicts: as in build_page.
    """
    nodes = page_data.read_node_rows(store, sweep_id)
    readings = partial(page_data.read_utilization, store, sweep_id)
    checks = partial(page_data.read_checks, store, sweep_id)
    errors = partial(page_data.read_errors, store, sweep_id)
    planned = store.summary(sweep_id).planned
    past = read_cell_history(store, sweep_id)
    version = velodrome_version()
    page = build_page(
        sweep_id,
        str(results),
        version,
        rows,
        nodes,
        readings,
        planned,
        past,
        checks,
        unit,
        errors,
        verdicts,
    )
    if missing := incomplete_results.describe_missing(store.faults, [sweep_id]):
        page = replace(page, summary=(Sentence(missing, is_warning=True), *page.summary))
    return render_document(page)
