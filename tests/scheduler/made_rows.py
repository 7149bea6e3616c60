"""Rows of results as the store returns them, from the values that a test gives."""

from collections.abc import Iterable, Mapping

from velodrome.scheduler.results.rows import to_table
from velodrome.scheduler.results.schema import TASKS
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows

CELL = {
    "sweep_id": "20261123-010203-00000001",
    "task_id": "a1",
    "repeat": 0,
    "attempt": 1,
    "status": "ok",
    "framework": "torch",
    "variant": "eager",
    "model": "lenet",
    "batch_size": 64,
    "device": "cpu",
    "threads": 1,
    "dtype": "float32",
    "node_id": "n1",
    "hostname": "host1",
    "node_type": "t1",
}


def typed(rows: Iterable[Mapping[str, object]]) -> list[TaskRow]:
    """Make rows of `tasks`; a column that is not given is null."""
    return task_rows(to_table("tasks", rows))


def task_row_with(**columns: object) -> TaskRow:
    """Make a row of `tasks` of an ordinary cell, with these columns."""
    return typed([CELL | columns])[0]


def changed(rows: Iterable[TaskRow], **columns: object) -> list[TaskRow]:
    """Copy rows with other values in these columns."""
    return typed(values(row) | columns for row in rows)


def changed_row(row: TaskRow, **columns: object) -> TaskRow:
    """Copy a row with other values in these columns."""
    return changed([row], **columns)[0]


def values(row: TaskRow) -> dict[str, object]:
    """Return all columns of a row."""
    return {name: getattr(row, name) for name in TASKS.names}
