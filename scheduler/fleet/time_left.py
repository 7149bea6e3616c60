"""How long a sweep will go on, by how it went so far."""

import time
from collections.abc import Iterable

from velodrome.agents.task import Task
from velodrome.scheduler.plans.durations import expected_s


class Eta:
    """Time left, by how long the attempts of this run took beside what was expected of them.

    They are not alike, and those that take long come first: their number alone would tell too much.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._started_s: float | None = None
        self._done_s = 0.0  # as expected
        self._left_s = sum(map(expected_s, tasks))

    def started(self) -> None:
        """The clock starts with the first attempt; building environments tells nothing."""
        if self._started_s is None:
            self._started_s = time.monotonic()

    def finished(self, task: Task) -> None:
        self._done_s += expected_s(task)
        self._left_s -= expected_s(task)

    def text(self) -> str:
        """E.g. `2m10s`; empty before the first attempt has ended and after the last."""
        if self._started_s is None or not self._done_s or self._left_s < 1e-6:
            return ""
        each = (time.monotonic() - self._started_s) / self._done_s
        minutes, seconds = divmod(round(each * self._left_s), 60)
        return f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
