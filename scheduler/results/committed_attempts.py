"""Which attempts of a sweep are on disk, and which of its tasks need no further one."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from velodrome.agents.measurement import Measurement, Status
from velodrome.scheduler.plans.expectations import ExpectedOutcome
from velodrome.scheduler.results.layout import attempt_file

COLUMNS = ("task_id", "repeat", "attempt", "status")
WANTING = frozenset(status for status in Status if not status.is_final)
Identity = tuple[str, int]  # a task's key and the number of the repeat


@dataclass
class Committed:
    """Kept up to date by whoever holds the sweep.

    An attempt that ended for want of a node or of an environment is on disk, but not final.
    """

    attempts: dict[Identity, int] = field(default_factory=dict)  # the latest
    final: set[Identity] = field(default_factory=set)
    wanting: set[tuple[str, int, int, str]] = field(default_factory=set)  # attempts not final
    files: set[str] = field(default_factory=set)  # of attempts that were kept one by one
    is_tidy: bool = False  # it is sure that there are no orphans

    def add(self, task_id: str, repeat: int, attempt: int, status: str) -> None:
        identity = (task_id, repeat)
        self.attempts[identity] = max(attempt, self.attempts.get(identity, 0))
        self.files.add(attempt_file(task_id, repeat, attempt))
        if status in WANTING:
            self.wanting.add((*identity, attempt, status))
        else:
            self.final.add(identity)

    @property
    def ended(self) -> frozenset[str]:
        """Tasks of which a repeat is final."""
        return frozenset(key for key, _ in self.final)

    @property
    def answered(self) -> set[Identity]:
        """Tasks and repeats of which there is an outcome, be it what was wanting."""
        lacked = {(key, repeat) for key, repeat, _, status in self.wanting if status != Status.LOST}
        return self.final | lacked

    def news(self, ended: Iterable[tuple[Measurement, ExpectedOutcome]]) -> "News":
        """Without those that are kept, and those whose task needs no further attempt.

        Be it here or by one that comes earlier among these.
        """
        final: set[Identity] = set()
        new: News = {}
        for one, expected in ended:
            identity = (one.task.key, one.repeat)
            is_kept = (*identity, one.attempt, one.status) in self.wanting
            if is_kept or identity in self.final or identity in final:
                continue
            new[(*identity, one.attempt)] = (one, expected)
            if one.status.is_final:
                final.add(identity)
        return new


News = dict[tuple[str, int, int], tuple[Measurement, ExpectedOutcome]]


def committed(rows: pa.Table) -> Committed:
    """Of the COLUMNS of `tasks`."""
    found = Committed()
    for row in zip(*(rows[name].to_pylist() for name in COLUMNS), strict=True):
        found.add(*row)
    return found


@dataclass(frozen=True)
class SweepSummary:
    """planned counts runs and tasks that fit nowhere; 0 for a task that was measured by itself."""

    sweep_id: str
    planned: int
    finished: int  # have an outcome other than `lost`
    with_number: int
