"""Which attempts of a sweep are on disk, and which of its tasks need no further one."""

from dataclasses import dataclass, field

import pyarrow as pa

from velodrome.agents.measurement import Status
from velodrome.scheduler.results.layout import attempt_file

COLUMNS = ("task_id", "repeat", "attempt", "status")
Identity = tuple[str, int]  # a task's key and the number of the repeat


@dataclass
class Committed:
    """Kept up to date by whoever holds the sweep; a `lost` attempt is on disk, but not final."""

    attempts: dict[Identity, int] = field(default_factory=dict)  # the latest
    final: set[Identity] = field(default_factory=set)
    files: set[str] = field(default_factory=set)

    def add(self, task_id: str, repeat: int, attempt: int, status: str) -> None:
        identity = (task_id, repeat)
        self.attempts[identity] = max(attempt, self.attempts.get(identity, 0))
        self.files.add(attempt_file(task_id, repeat, attempt))
        if status != Status.LOST:
            self.final.add(identity)


def committed(rows: pa.Table) -> Committed:
    """Of the COLUMNS of `tasks`."""
    found = Committed()
    for row in zip(*(rows[name].to_pylist() for name in COLUMNS), strict=True):
        found.add(*row)
    return found
