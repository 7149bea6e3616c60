"""The attempts of a sweep that are on disk, and the tasks that are finished."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from velodrome.agents.measurement import Measurement, Status
from velodrome.scheduler.plans.expected_outcomes import ExpectedOutcome
from velodrome.scheduler.results.layout import attempt_file

COLUMNS = ("task_id", "repeat", "attempt", "status")
NOT_FINAL = frozenset(status for status in Status if not status.is_final)
Identity = tuple[str, int]  # a task's key and the number of the repeat


@dataclass
class CommittedAttempts:
    """The attempts of one sweep on disk, kept up to date by the process that holds it.

    An attempt without a node or an environment is on disk, but not final.
    """

    attempts: dict[Identity, int] = field(default_factory=dict)  # the latest
    final: set[Identity] = field(default_factory=set)
    not_final: set[tuple[str, int, int, str]] = field(default_factory=set)  # attempts not final
    files: set[str] = field(default_factory=set)  # of attempts that were kept one by one
    is_tidy: bool = False  # it is sure that there are no orphans

    def add(self, task_id: str, repeat: int, attempt: int, status: str) -> None:
        """Record an attempt that is on disk."""
        identity = (task_id, repeat)
        self.attempts[identity] = max(attempt, self.attempts.get(identity, 0))
        self.files.add(attempt_file(task_id, repeat, attempt))
        if status in NOT_FINAL:
            self.not_final.add((*identity, attempt, status))
        else:
            self.final.add(identity)

    @property
    def ended(self) -> frozenset[str]:
        """The tasks that have a final repeat."""
        return frozenset(key for key, _ in self.final)

    @property
    def answered(self) -> set[Identity]:
        """Tasks and repeats with an outcome, including a missing node or environment."""
        lacked = {
            (key, repeat) for key, repeat, _, status in self.not_final if status != Status.LOST
        }
        return self.final | lacked

    def select_new(self, ended: Iterable[tuple[Measurement, ExpectedOutcome]]) -> "NewAttempts":
        """Return the new attempts: not on disk, and not of a finished task.

        An earlier attempt among `ended` also finishes its task.
        """
        final: set[Identity] = set()
        new: NewAttempts = {}
        for one, expected in ended:
            identity = (one.task.key, one.repeat)
            is_kept = (*identity, one.attempt, one.status) in self.not_final
            if is_kept or identity in self.final or identity in final:
                continue
            new[(*identity, one.attempt)] = (one, expected)
            if one.status.is_final:
                final.add(identity)
        return new


NewAttempts = dict[tuple[str, int, int], tuple[Measurement, ExpectedOutcome]]


def collect_committed(rows: pa.Table) -> CommittedAttempts:
    """Build the committed attempts from the COLUMNS of `tasks`."""
    found = CommittedAttempts()
    for row in zip(*(rows[name].to_pylist() for name in COLUMNS), strict=True):
        found.add(*row)
    return found


@dataclass(frozen=True)
class SweepSummary:
    """Counts of one sweep. planned includes tasks that fit no node; 0 for a single task."""

    sweep_id: str
    planned: int
    finished: int  # have an outcome other than `lost`
    with_number: int
