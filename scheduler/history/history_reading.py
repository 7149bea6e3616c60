"""Reading of the nightly runs in a store: all sweeps of one name."""

from collections.abc import Iterable, Iterator
from itertools import islice

import yaml

from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.history.cell_series import COLUMNS, History, history
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.results.file_faults import AWAY, FaultKind, FileFault
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows

SEARCHED = 100


def past_rows(store: Store, name: str, most: int) -> tuple[TaskRow, ...]:
    """Read `tasks` of the last runs of a name. store: a reader.

    Only the newest SEARCHED sweeps are considered: in a bucket each is a request.
    """
    found: list[TaskRow] = []
    for sweep_id in islice(_of_name(store, name, store.sweep_ids()[:SEARCHED]), most):
        found += task_rows(drop_impossible_values(store.read("tasks", sweep_id, COLUMNS)))
    return tuple(found)


def read_history(store: Store, name: str) -> History:
    """Read the history of a sweep name; the rest of its file may have changed.

    store: a reader, which leaves out damaged files.
    """
    chosen = set(night_ids(store, name))
    rows = task_rows(drop_impossible_values(store.read("tasks", None, COLUMNS)))
    return history(row for row in rows if row.sweep_id in chosen)


def night_ids(store: Store, name: str) -> tuple[str, ...]:
    """List the sweeps of this name, newest first."""
    return tuple(_of_name(store, name, store.sweep_ids()))


def _of_name(store: Store, name: str, sweep_ids: Iterable[str]) -> Iterator[str]:
    return (one for one in sweep_ids if name_of(store, one) == name)


def name_of(store: Store, sweep_id: str) -> str:
    """Return the name in a sweep's file; empty for a single task, or without a name."""
    try:
        text = store.sweep_text(sweep_id)
    except ConfigError:
        return ""
    except StoreError as error:
        store.report_fault(_unreadable(store, sweep_id, str(error)))
        return ""
    if _is_no_sweep(text):
        store.report_fault(_unreadable(store, sweep_id, "it is no sweep file"))
    return name_in(text)


def _is_no_sweep(text: str) -> bool:
    try:
        return not isinstance(yaml.safe_load(text), dict)
    except yaml.YAMLError:
        return True


def _unreadable(store: Store, sweep_id: str, problem: str) -> FileFault:
    """Make the fault of an unreadable sweep file: its name is unknown."""
    path = store.sweep_source(sweep_id)
    said = problem.removeprefix(f"{store.name}: ")
    return FileFault(path, "sweep", sweep_id, FaultKind.UNREADABLE, said, f"{AWAY}.")


def name_in(text: str) -> str:
    """Return the name in a sweep file's text, or an empty text."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return ""
    return str(found.get("name", "")) if isinstance(found, dict) else ""
