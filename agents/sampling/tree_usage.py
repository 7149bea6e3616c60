"""Resource usage of a process and all its descendants, read while they run.

Cheap enough for ten readings a second: the tree is listed again only after the kernel has created a
process or thread (the last number in /proc/loadavg). Without CONFIG_PROC_CHILDREN, listing is a
scan of every process, and as rare as its cost demands.

Two limits. RSS counts a shared page once per process. A process that starts and ends between two
readings shows only in the CPU time and I/O of the parent that waited for it.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from velodrome.agents.sampling.kernel_files import KernelFile
from velodrome.agents.sampling.process_counters import (
    TICK_NS,
    ProcessReader,
    ProcessStat,
    children_of_all,
    lists_children,
)
from velodrome.agents.sampling.rate_limit import RateLimited

# CPU time of reaped children comes in whole ticks, user and system apart, so a sum over the tree
# may seem to fall by up to two ticks a child. A greater fall is a process that nobody waited for,
# as when its parent ignores SIGCHLD.
REAPED_SLACK_NS = 5 * TICK_NS


class TreeUsage(NamedTuple):
    """Usage of the whole tree at one instant. Counters are totals since its start and never fall.

    peak_rss_bytes: the largest VmHWM of one process, because ru_maxrss of a child begins at its
    parent's. age_ns: the age of the oldest process, at most one tick too long. read_bytes and
    written_bytes: storage only, not the page cache; processes with unreadable counters are left
    out. None: unknown, or not yet read.
    """

    cpu_ns: int
    rss_bytes: int
    peak_rss_bytes: int
    threads: int
    age_ns: int
    context_switches: int | None
    read_bytes: int | None
    written_bytes: int | None


class TreeReader:
    """Reads a process and its descendants, including those whose parent has died since.

    ProcessLookupError: there is no such process.
    """

    def __init__(self, pid: int, *, scan: Callable[[], dict[int, list[int]]] | None = None) -> None:
        """scan: lists children by parent, for kernels that do not."""
        self.is_over = False  # True when every process has ended
        self._members = {pid: ProcessReader(pid)}
        self._scan = scan or (dict if lists_children() else children_of_all)
        self._newest = KernelFile("/proc/loadavg")
        self._newest_seen: tuple[bytes | None, bytes | None] = (None, None)
        self._walk = RateLimited(self._find_new, share=0.004)
        self._count_switches = RateLimited(self._switches)
        self._cpu_ns = _Total(slack=REAPED_SLACK_NS)
        self._switched = _Total()
        self._read_bytes = _Total()
        self._written_bytes = _Total()

    @property
    def pids(self) -> frozenset[int]:
        return frozenset(self._members)

    def close(self) -> None:
        for process in self._members.values():
            process.close()
        self._newest.close()

    def read(self) -> TreeUsage | None:
        """Read the usage; None: nothing is left of the tree."""
        self._walk()
        members = self._read_remaining()
        self.is_over = not any(stat.alive for _, stat in members)
        if not members:
            return None
        transfers = [pair for process, _ in members if (pair := process.io_bytes())]
        oldest_ns = min(stat.started_ns for _, stat in members)
        cpu_ns = sum(process.cpu_ns() + stat.reaped_ns for process, stat in members)
        return TreeUsage(
            cpu_ns=self._cpu_ns.raise_to(cpu_ns),
            rss_bytes=sum(stat.rss_bytes for _, stat in members),
            peak_rss_bytes=max(process.peak_rss_bytes() for process, _ in members),
            threads=sum(stat.threads for _, stat in members),
            age_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME) + TICK_NS - oldest_ns,
            context_switches=_add(self._switched, [self._count_switches()]),
            read_bytes=_add(self._read_bytes, [read for read, _ in transfers]),
            written_bytes=_add(self._written_bytes, [written for _, written in transfers]),
        )

    def _read_remaining(self) -> list[tuple[ProcessReader, ProcessStat]]:
        """Processes that still exist, zombies included; the others are dropped."""
        stats = [(process, process.stat()) for process in self._members.values()]
        for process, stat in stats:
            if stat is None:
                self._members.pop(process.pid).close()
        return [(process, stat) for process, stat in stats if stat is not None]

    def _find_new(self) -> None:
        """Find new threads and processes.

        A list of children can miss one if another ends during the read (proc(5)), so the tree is
        listed twice before it counts as known.
        """
        newest = (self._newest.read() or b"").rpartition(b" ")[2]
        if self._newest_seen == (newest, newest) and newest:
            return
        self._newest_seen = (self._newest_seen[1], newest)
        scanned = self._scan()
        queue = list(self._members.values())
        while queue:
            process = queue.pop()
            for pid in (*process.find_children(), *scanned.get(process.pid, ())):
                if pid not in self._members and (child := _open_process(pid)):
                    self._members[pid] = child
                    queue.append(child)

    def _switches(self) -> int | None:
        counts = [process.context_switches() for process in self._members.values()]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None


class _Total:
    """A sum over processes that does not fall when one of them ends."""

    def __init__(self, slack: int = 0) -> None:
        self._slack = slack
        self._ended = 0
        self._highest = 0

    def raise_to(self, present: int) -> int:
        fall = self._highest - (present + self._ended)
        if fall > self._slack:
            self._ended += fall
        self._highest = max(self._highest, present + self._ended)
        return self._highest


def _add(total: _Total, counts: list[int] | list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return total.raise_to(sum(known)) if known else None


def _open_process(pid: int) -> ProcessReader | None:
    try:
        return ProcessReader(pid)
    except ProcessLookupError:
        return None
