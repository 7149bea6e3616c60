"""Task durations in past runs, and the estimates from them.

A task is expected to take its cell's median; a cell without history takes the estimate from its
arithmetic (velodrome.scheduler.plans.durations), times the median ratio of the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from velodrome.agents.task import Task
from velodrome.scheduler.plans.durations import DurationEstimates, estimate_s
from velodrome.scheduler.reports.task_rows import measure_duration_s
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow

RUNS = 20  # that the error is estimated from


@dataclass(frozen=True)
class PastDurations:
    """Task durations by cell in s. factor: on the arithmetic estimate of other tasks.

    error: median relative error of the estimate of a run's total; None: too few runs.
    """

    seconds: Mapping[CellKey, float]
    factor: float = 1.0
    error: float | None = None

    def estimate(self, task: Task) -> float:
        """Estimate a task's time in s, from its start to its rows."""
        measured_s = self.seconds.get(CellKey.of(task))
        return self.factor * estimate_s(task) if measured_s is None else measured_s

    @property
    def estimates(self) -> DurationEstimates:
        return DurationEstimates(self.estimate, self.error)


def learn_durations(rows: Iterable[TaskRow], tasks: Iterable[Task]) -> PastDurations:
    """Learn durations from rows of `tasks` of past runs. tasks: of the plan to estimate."""
    runs = _group_by_run(rows)
    seconds = _compute_medians(runs)
    ratios = [
        seconds[cell] / estimate_s(task) for task in tasks if (cell := CellKey.of(task)) in seconds
    ]
    return PastDurations(seconds, median(ratios) if ratios else 1.0, _compute_error(runs))


_Runs = Sequence[Sequence[tuple[CellKey, float]]]


def _group_by_run(rows: Iterable[TaskRow]) -> _Runs:
    """Group attempts by run, oldest first: the cell and its time."""
    runs: dict[str, list[tuple[CellKey, float]]] = {}
    for row in rows:
        took = measure_duration_s(row)
        if took is not None:
            runs.setdefault(row.sweep_id, []).append((CellKey.of(row), took))
    return [runs[sweep_id] for sweep_id in sorted(runs)]


def _compute_medians(runs: _Runs) -> dict[CellKey, float]:
    times: dict[CellKey, list[float]] = {}
    for run in runs:
        for cell, took in run:
            times.setdefault(cell, []).append(took)
    return {cell: median(each) for cell, each in times.items()}


def _compute_error(runs: _Runs) -> float | None:
    """Return the median relative error of predicting each run's total from the runs before."""
    errors = []
    for at in range(max(1, len(runs) - RUNS), len(runs)):
        before = _compute_medians(runs[:at])
        pairs = [(before[cell], took) for cell, took in runs[at] if cell in before]
        if pairs:
            estimated, measured = map(sum, zip(*pairs, strict=True))
            errors.append(abs(estimated / measured - 1))
    return median(errors) if errors else None
