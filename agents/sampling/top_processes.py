"""The other processes that used the most CPU time since the last scan.

A scan costs some 15 us per process, so it is done once when sampling begins, and then only while
others are busy. A process that starts and ends between two scans counts for the parent that waited
for it.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from velodrome.agents.sampling.process_counters import TICK_NS

MOST = 12
CPU_FIELD = 36  # the CPU it last ran on, counted from its state
LEAST_PERCENT = 1.0  # of one core


class TopProcess(NamedTuple):
    """A process and its CPU use since the last scan, reaped children included.

    command: the name that the process gives itself, any characters, 15 at most. percent: of one
    core. on_task_cores: it last ran on one of the task's cores; running: and was running there.
    """

    pid: int
    command: str
    percent: float
    on_task_cores: bool
    running: bool


class ProcessActivity(NamedTuple):
    """Fields of /proc/PID/stat."""

    command: str
    running: bool
    parent: int
    own_ns: int
    reaped_ns: int
    started: int
    cpu: int


class TopProcessFinder:
    """Compares scans of all visible processes. The first scan only sets the start."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._texts: dict[int, bytes] = {}
        self._scanned_ns = 0

    def find(
        self, cores: Collection[int], own: Collection[int], at_ns: int
    ) -> tuple[TopProcess, ...]:
        """Scan now (at_ns), and compare. own: processes to leave out."""
        last, elapsed_ns = self._texts, at_ns - self._scanned_ns
        self._texts, self._scanned_ns = dict(_read_stats(self._proc)), at_ns
        if not last or elapsed_ns <= 0:
            return ()
        # Most did nothing in between; comparing texts is cheaper than parsing them.
        changed = _parse_all(
            (pid, text) for pid, text in self._texts.items() if last.get(pid) != text
        )
        before = _parse_all((pid, last[pid]) for pid in changed if pid in last)
        ended = _parse_all((pid, text) for pid, text in last.items() if pid not in self._texts)
        for pid in changed.keys() & own:
            del changed[pid]
        return rank_processes(before, changed, ended.values(), elapsed_ns, cores)


def rank_processes(
    before: dict[int, ProcessActivity],
    now: dict[int, ProcessActivity],
    ended: Iterable[ProcessActivity],
    elapsed_ns: int,
    cores: Collection[int],
) -> tuple[TopProcess, ...]:
    """Rank processes: running on the task's cores, then last run there, then by CPU time.

    gone: ended processes, as last seen.
    """
    ended_ns = _sum_ended_ns(ended)
    found = [
        TopProcess(
            pid=pid,
            command=stat.command,
            percent=round(100 * _growth_ns(stat, before.get(pid), ended_ns[pid]) / elapsed_ns, 1),
            on_task_cores=stat.cpu in cores,
            running=stat.running and stat.cpu in cores,
        )
        for pid, stat in now.items()
    ]
    busy = [process for process in found if process.percent >= LEAST_PERCENT]
    return tuple(sorted(busy, key=_rank, reverse=True)[:MOST])


def _rank(process: TopProcess) -> tuple[bool, bool, float]:
    return process.running, process.on_task_cores, process.percent


def _sum_ended_ns(ended: Iterable[ProcessActivity]) -> Counter[int]:
    """CPU time of ended children, which their parent has since inherited."""
    ended_ns: Counter[int] = Counter()
    for stat in ended:
        ended_ns[stat.parent] += stat.own_ns + stat.reaped_ns
    return ended_ns


def _growth_ns(stat: ProcessActivity, before: ProcessActivity | None, ended_ns: int) -> int:
    """CPU time of a process, and of its children that ended since."""
    if before is None or before.started != stat.started:
        return stat.own_ns + stat.reaped_ns
    return stat.own_ns - before.own_ns + max(0, stat.reaped_ns - before.reaped_ns - ended_ns)


def parse_process_times(text: bytes) -> ProcessActivity | None:
    """Parse proc_pid_stat(5). The program's name may contain spaces and brackets.

    None: too few fields, as in some sandboxes that emulate a kernel.
    """
    begin, end = text.find(b"("), text.rfind(b")")
    fields = text[end + 2 :].split()
    if len(fields) <= CPU_FIELD:
        return None
    return ProcessActivity(
        command=text[begin + 1 : end].decode(errors="replace"),
        running=fields[0] == b"R",
        parent=int(fields[1]),
        own_ns=(int(fields[11]) + int(fields[12])) * TICK_NS,
        reaped_ns=(int(fields[13]) + int(fields[14])) * TICK_NS,
        started=int(fields[19]),
        cpu=int(fields[CPU_FIELD]),
    )


def _parse_all(texts: Iterable[tuple[int, bytes]]) -> dict[int, ProcessActivity]:
    return {pid: stat for pid, text in texts if (stat := parse_process_times(text))}


def _read_stats(proc: str) -> Iterator[tuple[int, bytes]]:
    with os.scandir(proc) as entries:
        pids = [entry.name for entry in entries if entry.name.isdigit()]
    for pid in pids:
        with suppress(OSError):  # it has ended
            descriptor = os.open(f"{proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield int(pid), os.read(descriptor, 4096)
            finally:
                os.close(descriptor)
