"""Kernel counters of this process: processor time, and time spent waiting for a processor."""

import mmap
import os
import time
from typing import List, NamedTuple

import numpy

try:
    import resource
except ImportError:  # no Unix
    resource = None  # type: ignore[assignment]

TASKS = "/proc/self/task"
# Clearing 2 MiB, as for one fault of a huge page, in a virtual machine whose host has to find them.
MOST_NS_PER_FAULT = 2000000


class ProcessTimes(NamedTuple):
    """Times in ns over all threads. wall_ns: elapsed time.

    waited_ns: time in which runnable threads had no processor; 0 if the kernel does not count it.
    """

    wall_ns: int
    processor_ns: int
    waited_ns: int

    def since(self, before: "ProcessTimes") -> "ProcessTimes":
        """Return the differences from earlier times."""
        return ProcessTimes(*[now - then for now, then in zip(self, before)])


def read_process_times() -> ProcessTimes:
    """Read the times since the process began; for ended threads only the processor time."""
    return ProcessTimes(
        int(time.monotonic() * 1e9), int(time.process_time() * 1e9), sum(map(_wait_ns, _threads()))
    )


class PageFaults(NamedTuple):
    """Page faults without reading a disk, and processor time in the kernel, over all threads."""

    number: int
    kernel_ns: float


def read_page_faults() -> PageFaults:
    """Read the counts since the process began; zeros where the system does not count."""
    if resource is None:
        return PageFaults(0, 0.0)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return PageFaults(usage.ru_minflt, usage.ru_stime * 1e9)


def estimate_page_fault_ns(before: PageFaults, after: PageFaults) -> float:
    """Return the kernel's time between two readings, as far as page faults explain it."""
    number = after.number - before.number
    return max(0.0, min(after.kernel_ns - before.kernel_ns, float(number * MOST_NS_PER_FAULT)))


def measure_first_touch_ns(size_bytes: int) -> float:
    """Return how long the first access to so much new memory takes now.

    A virtual machine that gave free memory back to its host takes 8 us a page, not 1, and its
    kernel does not see why.
    """
    if size_bytes <= 0:
        return 0.0
    memory = mmap.mmap(-1, size_bytes)
    pages = numpy.frombuffer(memory, numpy.uint8)[:: mmap.PAGESIZE]
    began_s = time.perf_counter()
    pages[:] = 1
    return (time.perf_counter() - began_s) * 1e9


def estimate_interference_ns(spent: ProcessTimes) -> float:
    """Return how long threads waited for processors that this process did not use.

    Waits for its own threads do not count.
    """
    unused_ns = spent.wall_ns * _processors() - spent.processor_ns
    return float(max(0, min(spent.waited_ns, unused_ns)))


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        return os.cpu_count() or 1


def _threads() -> List[str]:
    try:
        return os.listdir(TASKS)
    except OSError:  # no Linux
        return []


def _wait_ns(thread: str) -> int:
    """Read the second figure of schedstat: https://docs.kernel.org/scheduler/sched-stats.html"""
    try:
        with open("{}/{}/schedstat".format(TASKS, thread)) as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):  # it has ended, or the kernel was built without
        return 0
