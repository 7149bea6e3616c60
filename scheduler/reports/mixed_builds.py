"""The warning that runs of one cell used different versions of a framework."""

from collections.abc import Sequence

from velodrome.scheduler.name_lists import shorten_names
from velodrome.scheduler.reports.interference_summary import describe_interference
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.typed_rows import TaskRow


def describe_builds(rows: Sequence[TaskRow]) -> str:
    """Describe tasks that different versions timed, as on GPUs with different drivers.

    Returns e.g. `3 tasks were run by different versions: torch on gpu by 2.10.0 (old), 2.13.0
    (new)`; empty without any.
    """
    tasks: dict[str, set[str]] = {}
    hosts: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    for row in select_last_attempts(rows):
        if row.timed and row.framework_version:
            tasks.setdefault(row.task_id, set()).add(row.framework_version)
            by_version = hosts.setdefault((row.framework, row.device), {})
            by_version.setdefault(row.framework_version, {})[row.hostname] = None
    mixed = {task for task, versions in tasks.items() if len(versions) > 1}
    if not mixed:
        return ""
    used = {(row.framework, row.device) for row in rows if row.task_id in mixed}
    parts = [
        f"{framework} on {device} by {_list_versions(hosts[framework, device])}"
        for framework, device in sorted(used)
    ]
    count = f"{len(mixed)} tasks were" if len(mixed) > 1 else "1 task was"
    return f"{count} run by different versions: {'; '.join(parts)}"


def warn_first(rows: Sequence[TaskRow]) -> str:
    """Return what a reader has to know before the times: other builds and interference."""
    return ". ".join(filter(None, (describe_builds(rows), describe_interference(rows))))


def _list_versions(by_version: dict[str, dict[str, None]]) -> str:
    return ", ".join(
        f"{version} ({shorten_names(list(names))})" for version, names in sorted(by_version.items())
    )
