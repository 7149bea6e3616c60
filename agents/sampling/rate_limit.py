"""A source that is read no more often than its cost allows."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Paced(Generic[Value]):
    """Calls `read` so rarely that it takes at most `share` of one core; between, None.

    What a reading costs depends on the machine: /proc/stat walks every interrupt of every CPU,
    and the driver of a GPU may take milliseconds. What is cheap is read at every tick. One reading
    that is dearer than the one before is no reason to look away for long: the cheaper counts.
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
        self._last_ns: int | None = None  # what the one before cost

    def __call__(self) -> Value | None:
        now = self._now_ns()
        if now < self._next_ns:
            return None
        begun = self._cost_ns()
        value = self._read()
        cost_ns = self._cost_ns() - begun
        cheaper_ns = cost_ns if self._last_ns is None else min(cost_ns, self._last_ns)
        self._last_ns = cost_ns
        self._next_ns = now + int(cheaper_ns / self._share)
        return value
