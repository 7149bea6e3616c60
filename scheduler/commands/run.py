"""Command `run`: runs a sweep, or resumes one, and shows its grid."""

from functools import partial
from pathlib import Path

from rich.console import Console

from velodrome.scheduler.commands import incomplete_results
from velodrome.scheduler.commands.history_estimates import RunPlanner, parse_budget
from velodrome.scheduler.commands.output import console, print_json, print_lines
from velodrome.scheduler.commands.report import print_tables
from velodrome.scheduler.commands.sweep_run import (
    execute_run,
    prepare_run,
    print_line,
    resume_command,
)
from velodrome.scheduler.commands.target import Target
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.plans.preparation import list_versions
from velodrome.scheduler.reports import outliers_text
from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.reports.mixed_builds import warn_first
from velodrome.scheduler.reports.outliers import collect_task_times, find_outliers
from velodrome.scheduler.reports.precision_ratios import build_tables
from velodrome.scheduler.reports.process_variation import read_cell_history
from velodrome.scheduler.reports.scaling import measure_scaling
from velodrome.scheduler.reports.task_rows import select_unexpected
from velodrome.scheduler.results.rate_columns import add_rates
from velodrome.scheduler.results.schema import WITHOUT_CHECKS
from velodrome.scheduler.results.store import Store, new_sweep_id
from velodrome.scheduler.results.sweep_ids import require_sweep_id
from velodrome.scheduler.results.typed_rows import task_rows
from velodrome.scheduler.sweeps.sweep import Sweep
from velodrome.scheduler.sweeps.sweep_file import hold_to_one_build, load_sweep, parse_sweep


def run(
    path: Path | None,
    results: str | Path,
    resume: str,
    only: str,
    target: Target,
    *,
    as_json: bool,
    sweep_id: str = "",
    budget_text: str = "",
    same_build: bool = False,
) -> int:
    """Run a sweep. Exit status 0 if all tasks ended as expected, else 1.

    sweep_id: id of a new sweep, if the caller has chosen one. budget_text: time limit, e.g. `2h`;
    empty: none. same_build: as in a sweep file; one that is resumed keeps its own.
    """
    store = Store(results)
    sweep_id = store.resolve(resume) if resume else require_sweep_id(sweep_id or new_sweep_id())
    sweep = _load_sweep(path, store, sweep_id if resume else "")
    if same_build:
        sweep = hold_to_one_build(sweep)
    screen = Console(stderr=True, highlight=False) if as_json else console()
    planner = RunPlanner(store, sweep.name, partial(print_line, screen), parse_budget(budget_text))
    sweep_run = prepare_run(
        store, sweep_id, sweep, only, resume_command(sweep_id, results, target, only), planner
    )
    for framework, device in list_versions(sweep) if resume else ():
        store.version_locks(sweep_id).copy_to(sweep_run.environments.versions, framework, device)
    execute_run(sweep_run, target, screen)
    return _finish(store, results, sweep_id, as_json=as_json)


def _load_sweep(path: Path | None, store: Store, resumed_id: str) -> Sweep:
    """Load the sweep of the named file, or the stored one of a resumed sweep."""
    if path is not None:
        return load_sweep(path)  # for a resumed sweep, the store refuses a changed text
    if resumed_id:
        return parse_sweep(store.sweep_text(resumed_id), store.sweep_source(resumed_id))
    raise ConfigError("command line", "no sweep file is named", "Try sweeps/quick.yaml.")


def _finish(store: Store, results: str | Path, sweep_id: str, *, as_json: bool) -> int:
    columns = None if as_json else WITHOUT_CHECKS
    table = drop_impossible_values(store.read("tasks", sweep_id, columns))
    rows = task_rows(table.select(WITHOUT_CHECKS))
    unexpected = select_unexpected(rows)
    if as_json:
        print_json(add_rates(table).to_pylist())
        return 1 if unexpected else 0
    reader = store.reader()
    cells_by_platform = collect_cells(rows, read_cell_history(reader, sweep_id))
    incomplete_results.warn_of_faults(reader.faults, results)
    print_tables(
        build_tables(cells_by_platform),
        warn_first(rows),
        measure_scaling(rows),
    )
    print_lines(
        f"{len(unexpected)} of {len(rows)} runs did not end as expected"
        if unexpected
        else "all runs ended as expected",
        *filter(None, [outliers_text.summarize_outliers(find_outliers(collect_task_times(rows)))]),
        f"wrote sweep {sweep_id} to {results}: tasks, samples, utilization, nodes, parameters",
        f"next: {_format_report(results, sweep_id)}",
    )
    return 1 if unexpected else 0


def _format_report(results: str | Path, sweep_id: str) -> str:
    return format_command("report", "--results", results, "--sweep", sweep_id, "--markdown")
