"""Values of `tasks` rows as safe text: the rows may come from an untrusted source."""

import shlex
from collections.abc import Iterable

from velodrome.adapters.composed_ops import PREFIX
from velodrome.scheduler.plans.expected_outcomes import AGREED
from velodrome.scheduler.results.typed_rows import TaskRow


def select_unexpected(rows: Iterable[TaskRow]) -> list[TaskRow]:
    """Select the rows whose outcome is not the expected one, better or worse."""
    return [row for row in select_last_attempts(rows) if is_unexpected(row)]


def select_last_attempts(rows: Iterable[TaskRow]) -> list[TaskRow]:
    """Select one row per task and repeat: the last attempt of a task that was lost."""
    latest: dict[tuple[str, int], TaskRow] = {}
    for row in rows:
        key = (row.task_id, row.repeat)
        if key not in latest or row.attempt > latest[key].attempt:
            latest[key] = row
    return list(latest.values())


def is_unexpected(row: TaskRow) -> bool:
    """Return True if the outcome is not the expected one; old rows without one expect `agreed`."""
    return not row.has_number if row.unexpected is None else row.unexpected


def describe_expectation(row: TaskRow) -> str:
    """Describe the expected outcome and its reason; empty for `agreed`."""
    if row.expected in ("", AGREED):
        return ""
    return ": ".join(filter(None, (row.expected, row.expected_reason)))


def measure_duration_s(row: TaskRow) -> float | None:
    """Return the duration without the wait for core locks; None for a task that never ran."""
    started, finished = row.started_at, row.finished_at
    if started is None or finished is None:
        return None
    waited_s = (row.waited_ns or 0) / 1e9
    took = (finished - started).total_seconds() - waited_s
    return took if took > 0 else None


def read_rerun_command(text: str) -> str:
    """Return a row's rerun command if it is one plain `velodrome measure`, else an empty string.

    Readers copy it into a shell, so no other text of a row may appear as a command.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        return ""
    is_plain = words[:2] == ["velodrome", "measure"] and shlex.join(words) == text
    return text if is_plain else ""


def select_composed_notes(notes: Iterable[str]) -> tuple[str, ...]:
    """Select the notes on operations that the framework lacks and its adapter composes."""
    return tuple(note for note in notes if note.startswith(PREFIX))
