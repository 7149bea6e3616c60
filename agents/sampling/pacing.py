"""A source that is read no more often than its cost allows."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Paced(Generic[Value]):
    """Calls `read` so rarely that it takes at most `share` of one core; between, None.

    What a reading costs depends on the machine: /proc/stat walks every interrupt of every CPU,
    and the driver of a GPU may take milliseconds. What is cheap is read at every tick.
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

    def __call__(self) -> Value | None:
        now = self._now_ns()
        if now < self._next_ns:
            return None
        begun = self._cost_ns()
        value = self._read()
        self._next_ns = now + int((self._cost_ns() - begun) / self._share)
        return value
