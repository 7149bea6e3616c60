"""What tasks are called beside each other: whatever tells two of them apart is in their names."""

from collections.abc import Iterable

from velodrome.agents.task import Task
from velodrome.scheduler.distinct_names import make_distinct


def name_tasks(tasks: Iterable[Task]) -> dict[Task, str]:
    """Their labels, and where these are the same what differs in their keys."""
    each = tuple(dict.fromkeys(tasks))
    return make_distinct(
        {task: task.label for task in each}, {task: _fields(task) for task in each}
    )


def _fields(task: Task) -> dict[str, str]:
    """Of the timing each part, as a sweep file names it."""
    timing = {name: str(value) for name, value in task.timing._asdict().items()}
    others = {name: str(value) for name, value in task.deciding.items() if name != "timing"}
    return others | timing
