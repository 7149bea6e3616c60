"""The nights of a store: the sweeps begun from files of one name, as a history."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

import yaml

from velodrome.scheduler.errors import VelodromeError
from velodrome.scheduler.history.nights import COLUMNS, History, history
from velodrome.scheduler.reports.task_rows import Row
from velodrome.scheduler.results.store import Store

SEARCHED = 100


def past_rows(store: Store, name: str, most: int) -> tuple[Row, ...]:
    """Of `tasks`, of the last so many nights; none of a sweep that cannot be read.

    Only the newest SEARCHED sweeps are looked at: in a bucket each is a request.
    """
    found: list[Row] = []
    for sweep_id in islice(_of_name(store, name, store.sweep_ids()[:SEARCHED]), most):
        with suppress(VelodromeError):
            found += store.read("tasks", sweep_id, COLUMNS).to_pylist()
    return tuple(found)


def read_history(store: Store, name: str) -> History:
    """name: of the sweep, as its files give it; the rest of a file may have changed meanwhile."""
    chosen = set(night_ids(store, name))
    rows = store.read("tasks", None, COLUMNS).to_pylist()
    return history(row for row in rows if row["sweep_id"] in chosen)


def night_ids(store: Store, name: str) -> tuple[str, ...]:
    """The sweeps of this name, newest first."""
    return tuple(_of_name(store, name, store.sweep_ids()))


def _of_name(store: Store, name: str, sweep_ids: Iterable[str]) -> Iterator[str]:
    return (one for one in sweep_ids if name_of(store, one) == name)


def name_of(store: Store, sweep_id: str) -> str:
    """As the sweep's file gives it; empty for a task that was measured by itself, or no name."""
    try:
        return name_in(store.sweep_text(sweep_id))
    except VelodromeError:
        return ""


def name_in(text: str) -> str:
    """Of a sweep file's text; empty if it gives none."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return ""
    return str(found.get("name", "")) if isinstance(found, dict) else ""
