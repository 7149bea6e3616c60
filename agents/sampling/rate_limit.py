"""A rate limit for sources: each is read no more often than its cost allows."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class RateLimited(Generic[Value]):
    """Calls `read` so rarely that it takes at most `share` of one core; None in between.

    The cost depends on the machine: /proc/stat visits every interrupt of every CPU, and a GPU
    driver may take milliseconds. A cheap source is read at every tick. The cheaper of the last two
    readings counts, so that one slow reading does not cause a long gap.
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
        self._last_ns: int | None = None  # cost of the previous reading

    def __call__(self) -> Value | None:
        now = self._now_ns()
        if now < self._next_ns:
            return None
        before_ns = self._cost_ns()
        value = self._read()
        cost_ns = self._cost_ns() - before_ns
        cheaper_ns = cost_ns if self._last_ns is None else min(cost_ns, self._last_ns)
        self._last_ns = cost_ns
        self._next_ns = now + int(cheaper_ns / self._share)
        return value
