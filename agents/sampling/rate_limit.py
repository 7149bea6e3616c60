"""A rate limit for sources: each is read no more often than its cost allows."""

import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")
RECENT = 5  # readings


class RateLimited(Generic[Value]):
    """Calls `read` so rarely that it takes at most `share` of one core; None in between.

    The cost depends on the machine: /proc/stat visits every interrupt of every CPU, and a GPU
    driver may take milliseconds. A cheap source is read at every tick. The cheapest of the last few
    readings counts: on a busy machine some are slow, and each would cause a gap in the readings.
    """

    def __init__(
        self,
        read: Callable[[], Value],
        *,
        share: float = 0.002,
        now_ns: Callable[[], int] = time.monotonic_ns,
        cost_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._read = read
        self._share = share
        self._now_ns = now_ns
        self._cost_ns = cost_ns
        self._next_ns = 0
        self._costs_ns: deque[int] = deque(maxlen=RECENT)

    def __call__(self) -> Value | None:
        now = self._now_ns()
        if now < self._next_ns:
            return None
        before_ns = self._cost_ns()
        value = self._read()
        self._costs_ns.append(self._cost_ns() - before_ns)
        self._next_ns = now + int(min(self._costs_ns) / self._share)
        return value
