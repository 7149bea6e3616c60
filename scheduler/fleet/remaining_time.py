"""Estimate of the time that a sweep still needs, from its progress so far."""

import time
from collections.abc import Callable, Iterable

from velodrome.agents.measurement import Measurement
from velodrome.agents.task import Task
from velodrome.scheduler.plans.durations import BY_ARITHMETIC, DurationEstimates


class Eta:
    """Scales the expected durations of the remaining tasks by how long finished ones took.

    Tasks differ, and long ones come first: their number alone would give a wrong estimate.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        durations: DurationEstimates = BY_ARITHMETIC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._durations = durations
        self._clock = clock
        self._started_s: float | None = None
        self._done_s = 0.0  # as expected
        self._left_s = 0.0
        self._took_s = 0.0  # by all attempts, side by side
        self._waited_s = 0.0  # of it, for cores that others used
        self.expect(tasks)

    def expect(self, tasks: Iterable[Task]) -> None:
        """Add tasks that are still to do."""
        self._left_s += sum(map(self._durations.estimate, tasks))

    def start(self) -> None:
        """Start the clock at the first attempt: builds of environments do not count."""
        if self._started_s is None:
            self._started_s = self._clock()

    def finish(self, task: Task, measurement: Measurement | None = None) -> None:
        self._done_s += self._durations.estimate(task)
        if measurement:
            self._took_s += max(0.0, measurement.finished_at - measurement.started_at)
            self._waited_s += (measurement.waited_ns or 0) / 1e9
        self._left_s -= self._durations.estimate(task)

    @property
    def _own_share(self) -> float:
        """Share of the time so far without waits for other users, who may have left."""
        return 1.0 - min(self._waited_s / self._took_s, 1.0) if self._took_s else 1.0

    def format_left(self) -> str:
        """Format the time left, e.g. `2m10s`, with the usual error `2m10s ± 8 %`.

        Empty before the first attempt has ended and after the last.
        """
        if self._started_s is None or not self._done_s or self._left_s < 1e-6:
            return ""
        each = self._own_share * (self._clock() - self._started_s) / self._done_s
        minutes, seconds = divmod(round(each * self._left_s), 60)
        error = self._durations.error
        suffix = "" if error is None else f" ± {error:.0%}".replace("%", " %")
        return (f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s") + suffix
