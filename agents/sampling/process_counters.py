"""Counters of one process, read from /proc while it runs."""

import os
import time
from typing import NamedTuple

from velodrome.agents.sampling.kernel_files import KernelFile

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessStat(NamedTuple):
    """Fields of /proc/PID/stat. reaped_ns: CPU time of children that were waited for."""

    alive: bool
    parent: int
    reaped_ns: int
    threads: int
    started_ns: int  # since boot
    rss_bytes: int


class ProcessReader:
    """Open files of one process. ProcessLookupError: no such process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        # The kernel's clock of a process of any owner, in ns: /proc/PID/stat has ticks of 10 ms.
        self._clock = (~pid << 3) | 2
        self._stat = KernelFile(f"/proc/{pid}/stat")
        self._status = KernelFile(f"/proc/{pid}/status")
        self._io = KernelFile(f"/proc/{pid}/io")
        self._schedules: dict[str, KernelFile] = {}
        if self.stat() is None:
            self.close()
            raise ProcessLookupError(f"no process {pid}")

    def close(self) -> None:
        for file in (self._stat, self._status, self._io, *self._schedules.values()):
            file.close()

    def stat(self) -> ProcessStat | None:
        """Return its stat; None: it has ended and was waited for."""
        text = self._stat.read()
        return None if text is None else parse_stat(text)

    def cpu_ns(self) -> int:
        """Return user and system time of all its threads, ended ones included."""
        try:
            return time.clock_gettime_ns(self._clock)
        except OSError:  # waited for since
            return 0

    def peak_rss_bytes(self) -> int:
        """Return VmHWM; 0 once it has ended, as its memory is gone then."""
        return _number_after(self._status.read() or b"", b"VmHWM:") * 1024

    def io_bytes(self) -> tuple[int, int] | None:
        """Return bytes read from and written to storage, reaped children included."""
        text = self._io.read()
        if text is None:
            return None
        return _number_after(text, b"\nread_bytes:"), _number_after(text, b"\nwrite_bytes:")

    def context_switches(self) -> int | None:
        """Return how often its threads were put on a core; None without CONFIG_SCHED_INFO.

        /proc/PID/status counts only the first thread, at four times the cost.
        """
        texts = [file.read() for file in self._schedules.values()]
        counts = [int(text.split()[2]) for text in texts if text]
        return sum(counts) if counts else None

    def find_children(self) -> list[int]:
        """Find new threads; return the children of every thread."""
        threads = self._threads()
        for ended in self._schedules.keys() - set(threads):
            self._schedules.pop(ended).close()
        for new in set(threads) - self._schedules.keys():
            self._schedules[new] = KernelFile(f"/proc/{self.pid}/task/{new}/schedstat")
        return [child for thread in threads for child in self._children(thread)]

    def _threads(self) -> list[str]:
        try:
            with os.scandir(f"/proc/{self.pid}/task") as entries:
                return [entry.name for entry in entries]
        except OSError:
            return []

    def _children(self, thread: str) -> list[int]:
        with KernelFile(f"/proc/{self.pid}/task/{thread}/children") as file:
            return [int(number) for number in (file.read_all() or b"").split()]


def parse_stat(text: bytes) -> ProcessStat:
    """Parse proc_pid_stat(5). The program's name may contain spaces and brackets."""
    fields = text[text.rindex(b")") + 2 :].split()
    return ProcessStat(
        alive=fields[0] not in (b"Z", b"X"),
        parent=int(fields[1]),
        reaped_ns=(int(fields[13]) + int(fields[14])) * TICK_NS,
        threads=int(fields[17]),
        started_ns=int(fields[19]) * TICK_NS,
        rss_bytes=max(0, int(fields[21])) * PAGE_BYTES,
    )


def lists_children() -> bool:
    """Return True if the kernel has CONFIG_PROC_CHILDREN."""
    with KernelFile(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read() is not None


def children_of_all() -> dict[int, list[int]]:
    """List every process by its parent: the costly way without CONFIG_PROC_CHILDREN."""
    children: dict[int, list[int]] = {}
    with os.scandir("/proc") as entries:
        pids = [entry.name for entry in entries if entry.name.isdigit()]
    for pid in pids:
        with KernelFile(f"/proc/{pid}/stat") as file:
            if text := file.read():
                children.setdefault(parse_stat(text).parent, []).append(int(pid))
    return children


def _number_after(text: bytes, name: bytes) -> int:
    """0 if the name is missing."""
    rest = text.partition(name)[2]
    return int(rest.split(None, 1)[0]) if rest else 0
