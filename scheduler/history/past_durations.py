"""Task durations in past runs, and the estimates from them.

A task is expected to take its cell's median; a cell without a past takes the estimate from its
arithmetic (velodrome.scheduler.plans.durations), times the median ratio of the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from velodrome.agents.task import Task
from velodrome.scheduler.plans.durations import DurationEstimates, estimate_s
from velodrome.scheduler.reports.task_rows import measure_duration_s
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow

NIGHTS = 20  # of which the error is told


@dataclass(frozen=True)
class Pasts:
    """Task durations by cell in s. factor: on the arithmetic estimate of other tasks.

    error: median relative error of a run's total over past runs; None: too few.
    """

    seconds: Mapping[CellKey, float]
    factor: float = 1.0
    error: float | None = None

    def estimate(self, task: Task) -> float:
        """Estimate a task's time in s, from its start to its rows."""
        known = self.seconds.get(CellKey.of(task))
        return known if known is not None else self.factor * estimate_s(task)

    @property
    def foresight(self) -> DurationEstimates:
        return DurationEstimates(self.estimate, self.error)


def pasts(rows: Iterable[TaskRow], tasks: Iterable[Task]) -> Pasts:
    """Learn from rows of `tasks` of past runs. tasks: of the plan to be estimated."""
    nights = _by_night(rows)
    seconds = _medians(nights)
    ratios = [
        seconds[cell] / estimate_s(task) for task in tasks if (cell := CellKey.of(task)) in seconds
    ]
    return Pasts(seconds, median(ratios) if ratios else 1.0, _error(nights))


_Nights = Sequence[Sequence[tuple[CellKey, float]]]


def _by_night(rows: Iterable[TaskRow]) -> _Nights:
    """Group attempts by run, oldest first: the cell and its time."""
    found: dict[str, list[tuple[CellKey, float]]] = {}
    for row in rows:
        took = measure_duration_s(row)
        if took is not None:
            found.setdefault(row.sweep_id, []).append((CellKey.of(row), took))
    return [found[sweep_id] for sweep_id in sorted(found)]


def _medians(nights: _Nights) -> dict[CellKey, float]:
    found: dict[CellKey, list[float]] = {}
    for night in nights:
        for cell, took in night:
            found.setdefault(cell, []).append(took)
    return {cell: median(times) for cell, times in found.items()}


def _error(nights: _Nights) -> float | None:
    """Return the median relative error of predicting each run's total from the runs before."""
    errors = []
    for at in range(max(1, len(nights) - NIGHTS), len(nights)):
        before = _medians(nights[:at])
        known = [(before[cell], took) for cell, took in nights[at] if cell in before]
        if known:
            told, took = (sum(each) for each in zip(*known, strict=True))
            errors.append(abs(told / took - 1))
    return median(errors) if errors else None
