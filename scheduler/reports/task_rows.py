"""What rows of the `tasks` table say, as text that is safe to show: anybody may have written it."""

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime

from velodrome.adapters.composed_ops import PREFIX
from velodrome.agents.measurement import Status
from velodrome.scheduler.plans.expectations import AGREED
from velodrome.scheduler.results.sanitizing import in_one_line

Row = Mapping[str, object]


def select_surprises(rows: Iterable[Row]) -> list[Row]:
    """Those that ended otherwise than expected, in either direction."""
    return [row for row in select_last_attempts(rows) if is_surprise(row)]


def select_last_attempts(rows: Iterable[Row]) -> list[Row]:
    """One row per task and repeat: of a task that was lost and done again, the later one."""
    latest: dict[tuple[object, object], Row] = {}
    for row in rows:
        key = (row["task_id"], row["repeat"])
        if key not in latest or int(str(row["attempt"])) > int(str(latest[key]["attempt"])):
            latest[key] = row
    return list(latest.values())


def is_surprise(row: Row) -> bool:
    """Rows from before there were expectations were to agree."""
    told = row.get("unexpected")
    return bool(told) if told is not None else not Status(str(row["status"])).has_number


def describe_expectation(row: Row) -> str:
    """What was expected and why; empty where it was to agree."""
    if row.get("expected") in (None, AGREED):
        return ""
    reason = f": {row['expected_reason']}" if row.get("expected_reason") else ""
    return in_one_line(f"{row['expected']}{reason}")


def measure_duration_s(row: Row) -> float | None:
    """How long it was at it, without what it waited for others to let go of its cores.

    None of what never ran.
    """
    started, finished = row.get("started_at"), row.get("finished_at")
    if not isinstance(started, datetime) or not isinstance(finished, datetime):
        return None
    waited_s = int(str(row.get("waited_ns") or 0)) / 1e9
    took = (finished - started).total_seconds() - waited_s
    return took if took > 0 else None


def read_rerun_command(value: object) -> str:
    """A row's command for whoever types it again: one `velodrome measure`, or nothing.

    It is what a reader copies into a shell, so nothing else that a row says is shown as one.
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
    """Of linear algebra, that ran; empty where an earlier Velodrome did not ask."""
    kernels = row.get("kernels")
    return tuple(in_one_line(one) for one in kernels) if isinstance(kernels, list) else ()


def select_composed_notes(notes: Iterable[str]) -> tuple[str, ...]:
    """Those that tell of an operation which the framework lacks and its adapter writes out."""
    return tuple(note for note in notes if note.startswith(PREFIX))
