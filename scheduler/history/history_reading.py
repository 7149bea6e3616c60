"""Reading of the nightly runs in a store: all sweeps of one name."""

from collections.abc import Iterable, Iterator
from itertools import islice

import yaml

from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.history.cell_series import COLUMNS, History, build_history
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.results.file_faults import AWAY, FaultKind, FileFault
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows

SEARCHED = 100  # sweeps


def read_past_rows(store: Store, name: str, most: int) -> tuple[TaskRow, ...]:
    """Read `tasks` of the last runs of a name. store: a reader.

    Only the newest SEARCHED sweeps are considered: in a bucket each is a request.
    """
    rows: list[TaskRow] = []
    for sweep_id in islice(_filter_by_name(store, name, store.sweep_ids()[:SEARCHED]), most):
        rows += task_rows(drop_impossible_values(store.read("tasks", sweep_id, COLUMNS)))
    return tuple(rows)


def read_history(store: Store, name: str) -> History:
    """Read the history of a sweep name; the rest of its file may have changed.

    store: a reader, which leaves out damaged files.
    """
    chosen = set(list_run_ids(store, name))
    rows = task_rows(drop_impossible_values(store.read("tasks", None, COLUMNS)))
    return build_history(row for row in rows if row.sweep_id in chosen)


def list_run_ids(store: Store, name: str) -> tuple[str, ...]:
    """List the sweeps of this name, newest first."""
    return tuple(_filter_by_name(store, name, store.sweep_ids()))


def _filter_by_name(store: Store, name: str, sweep_ids: Iterable[str]) -> Iterator[str]:
    return (each for each in sweep_ids if read_sweep_name(store, each) == name)


def read_sweep_name(store: Store, sweep_id: str) -> str:
    """Read the name in a sweep's file; empty for a single task, or without a name."""
    try:
        text = store.sweep_text(sweep_id)
    except ConfigError:
        return ""
    except StoreError as error:
        store.report_fault(_make_fault(store, sweep_id, str(error)))
        return ""
    if _is_no_sweep(text):
        store.report_fault(_make_fault(store, sweep_id, "it is no sweep file"))
    return parse_sweep_name(text)


def _is_no_sweep(text: str) -> bool:
    try:
        return not isinstance(yaml.safe_load(text), dict)
    except yaml.YAMLError:
        return True


def _make_fault(store: Store, sweep_id: str, problem: str) -> FileFault:
    """Make the fault of an unreadable sweep file: its name is unknown."""
    path = store.sweep_source(sweep_id)
    text = problem.removeprefix(f"{store.name}: ")
    return FileFault(path, "sweep", sweep_id, FaultKind.UNREADABLE, text, f"{AWAY}.")


def parse_sweep_name(text: str) -> str:
    """Return the name in a sweep file's text, or an empty text."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return ""
    return str(content.get("name", "")) if isinstance(content, dict) else ""
