"""What the kernel counted of this process: processor time, and waiting for a processor."""

import os
import time
from typing import NamedTuple

TASKS = "/proc/self/task"


class Spent(NamedTuple):
    """Over all threads, in ns. wall_ns: that passed meanwhile.

    waited_ns: threads that could have run and had no processor; 0 where the kernel does not count.
    """

    wall_ns: int
    processor_ns: int
    waited_ns: int

    def since(self, before: "Spent") -> "Spent":
        return Spent(*[now - then for now, then in zip(self, before)])


def spent_by_now() -> Spent:
    """Since the process began; of threads that have ended the processor time alone."""
    return Spent(
        int(time.monotonic() * 1e9), int(time.process_time() * 1e9), sum(map(_waited, _threads()))
    )


def _threads():
    try:
        return os.listdir(TASKS)
    except OSError:  # no Linux
        return []


def _waited(thread: str) -> int:
    """The second figure of schedstat: https://docs.kernel.org/scheduler/sched-stats.html"""
    try:
        with open("{}/{}/schedstat".format(TASKS, thread)) as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):  # it has ended, or the kernel was built without
        return 0
