"""The nights of a store: the sweeps begun from files of one name, as a history."""

import yaml

from velodrome.scheduler.errors import VelodromeError
from velodrome.scheduler.history.nights import COLUMNS, History, history
from velodrome.scheduler.results.store import Store


def read_history(store: Store, name: str) -> History:
    """name: of the sweep, as its files give it; the rest of a file may have changed meanwhile."""
    chosen = set(night_ids(store, name))
    found = store.read("tasks")
    there = [column for column in COLUMNS if column in found.column_names]
    rows = found.select(there).to_pylist()
    return history(row for row in rows if row["sweep_id"] in chosen)


def night_ids(store: Store, name: str) -> tuple[str, ...]:
    """The sweeps of this name, newest first."""
    return tuple(one for one in store.sweep_ids() if name_of(store, one) == name)


def name_of(store: Store, sweep_id: str) -> str:
    """As the sweep's file gives it; empty for a task that was measured by itself, or no name."""
    try:
        found = yaml.safe_load(store.sweep_text(sweep_id))
    except (VelodromeError, yaml.YAMLError):
        return ""
    return str(found.get("name", "")) if isinstance(found, dict) else ""
