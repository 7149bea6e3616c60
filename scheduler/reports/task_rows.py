"""Values of `tasks` rows as safe text: the rows may come from an untrusted source."""

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime

from velodrome.adapters.composed_ops import PREFIX
from velodrome.agents.measurement import Status
from velodrome.scheduler.plans.expectations import AGREED
from velodrome.scheduler.results.sanitizing import in_one_line

Row = Mapping[str, object]


def select_unexpected(rows: Iterable[Row]) -> list[Row]:
    """Select the rows whose outcome is not the expected one, better or worse."""
    return [row for row in select_last_attempts(rows) if is_unexpected(row)]


def select_last_attempts(rows: Iterable[Row]) -> list[Row]:
    """Select one row per task and repeat: the last attempt of a task that was lost."""
    latest: dict[tuple[object, object], Row] = {}
    for row in rows:
        key = (row["task_id"], row["repeat"])
        if key not in latest or int(str(row["attempt"])) > int(str(latest[key]["attempt"])):
            latest[key] = row
    return list(latest.values())


def is_unexpected(row: Row) -> bool:
    """Return True if the outcome is not the expected one; old rows without one expect `agreed`."""
    value = row.get("unexpected")
    return bool(value) if value is not None else not Status(str(row["status"])).has_number


def describe_expectation(row: Row) -> str:
    """Say what was expected and why; empty if `agreed` was expected."""
    if row.get("expected") in (None, AGREED):
        return ""
    reason = f": {row['expected_reason']}" if row.get("expected_reason") else ""
    return in_one_line(f"{row['expected']}{reason}")


def measure_duration_s(row: Row) -> float | None:
    """Return the duration without the wait for core locks; None for a task that never ran."""
    started, finished = row.get("started_at"), row.get("finished_at")
    if not isinstance(started, datetime) or not isinstance(finished, datetime):
        return None
    waited_s = int(str(row.get("waited_ns") or 0)) / 1e9
    took = (finished - started).total_seconds() - waited_s
    return took if took > 0 else None


def read_rerun_command(value: object) -> str:
    """Return a row's rerun command if it is one plain `velodrome measure`, else an empty string.

    Readers copy it into a shell, so no other text of a row may appear as a command.
    """
    text = in_one_line(value)
    try:
        words = shlex.split(text)
    except ValueError:
        return ""
    is_plain = words[:2] == ["velodrome", "measure"] and shlex.join(words) == text
    return text if is_plain else ""


def read_notes(row: Row) -> tuple[str, ...]:
    notes = row.get("notes")
    return tuple(in_one_line(note) for note in notes) if isinstance(notes, list) else ()


def read_kernels(row: Row) -> tuple[str, ...]:
    """Return the linear-algebra kernels that ran; empty for rows of versions without them."""
    kernels = row.get("kernels")
    return tuple(in_one_line(kernel) for kernel in kernels) if isinstance(kernels, list) else ()


def select_composed_notes(notes: Iterable[str]) -> tuple[str, ...]:
    """Select the notes on operations that the framework lacks and its adapter composes."""
    return tuple(note for note in notes if note.startswith(PREFIX))
