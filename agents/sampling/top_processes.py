"""Who else uses the CPU: the processes that did most since they were last looked at.

To look at every process of a machine takes some 15 us each, so it is done once when sampling
begins, and then only while something is amiss. Of what is there and gone between two looks, the
parent that waited for it is told.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from velodrome.agents.sampling.process_counters import TICK_NS

NAMED = 12  # of one look
CPU_FIELD = 36  # where it ran last, counted from its state
LEAST_PERCENT = 1.0  # of one core, to be told at all


class Suspect(NamedTuple):
    """command is what the process calls itself, of whatever characters it likes, 15 at most.

    percent: of one core, since the look before, children that it waited for included. near: it
    last ran on one of the task's cores; running: and did so while it was looked at.
    """

    pid: int
    command: str
    percent: float
    near: bool
    running: bool


class Seen(NamedTuple):
    """Of /proc/PID/stat."""

    command: str
    running: bool
    parent: int
    own_ns: int
    reaped_ns: int
    started: int
    cpu: int


class Suspects:
    """All processes that this one can see. The first look only takes notice."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._texts: dict[int, bytes] = {}
        self._seen_ns = 0

    def look(self, cores: Collection[int], own: Collection[int], at_ns: int) -> tuple[Suspect, ...]:
        """Since the look before. own: processes that are no suspects. at_ns: now."""
        last, elapsed_ns = self._texts, at_ns - self._seen_ns
        self._texts, self._seen_ns = dict(_texts(self._proc)), at_ns
        if not last or elapsed_ns <= 0:
            return ()
        # Most did nothing meanwhile, and to compare their texts is cheaper than to read them.
        moved = _parsed((pid, text) for pid, text in self._texts.items() if last.get(pid) != text)
        before = _parsed((pid, last[pid]) for pid in moved if pid in last)
        gone = _parsed((pid, text) for pid, text in last.items() if pid not in self._texts)
        for pid in moved.keys() & own:
            del moved[pid]
        return ranked(before, moved, gone.values(), elapsed_ns, cores)


def ranked(
    before: dict[int, Seen],
    now: dict[int, Seen],
    gone: Iterable[Seen],
    elapsed_ns: int,
    cores: Collection[int],
) -> tuple[Suspect, ...]:
    """The likeliest first: who runs on the task's cores, then who was there, then who did most.

    gone: as they were seen last, before they ended.
    """
    counted_ns = _by_parent(gone)
    found = [
        Suspect(
            pid=pid,
            command=seen.command,
            percent=round(100 * _grown_ns(seen, before.get(pid), counted_ns[pid]) / elapsed_ns, 1),
            near=seen.cpu in cores,
            running=seen.running and seen.cpu in cores,
        )
        for pid, seen in now.items()
    ]
    busy = [suspect for suspect in found if suspect.percent >= LEAST_PERCENT]
    return tuple(
        sorted(busy, key=lambda one: (one.running, one.near, one.percent))[: -NAMED - 1 : -1]
    )


def _by_parent(gone: Iterable[Seen]) -> Counter[int]:
    """What children had done when they were seen last, which their parent has since inherited."""
    counted: Counter[int] = Counter()
    for one in gone:
        counted[one.parent] += one.own_ns + one.reaped_ns
    return counted


def _grown_ns(seen: Seen, before: Seen | None, counted_ns: int) -> int:
    """CPU time of a process, and of its children that have ended since."""
    if before is None or before.started != seen.started:
        return seen.own_ns + seen.reaped_ns
    return seen.own_ns - before.own_ns + max(0, seen.reaped_ns - before.reaped_ns - counted_ns)


def parse(text: bytes) -> Seen | None:
    """proc_pid_stat(5). The name of the program may hold spaces and brackets.

    None: a kernel that is none, as of some sandboxes, tells less.
    """
    begin, end = text.find(b"("), text.rfind(b")")
    fields = text[end + 2 :].split()
    if len(fields) <= CPU_FIELD:
        return None
    return Seen(
        command=text[begin + 1 : end].decode(errors="replace"),
        running=fields[0] == b"R",
        parent=int(fields[1]),
        own_ns=(int(fields[11]) + int(fields[12])) * TICK_NS,
        reaped_ns=(int(fields[13]) + int(fields[14])) * TICK_NS,
        started=int(fields[19]),
        cpu=int(fields[CPU_FIELD]),
    )


def _parsed(texts: Iterable[tuple[int, bytes]]) -> dict[int, Seen]:
    return {pid: seen for pid, text in texts if (seen := parse(text))}


def _texts(proc: str) -> Iterator[tuple[int, bytes]]:
    with os.scandir(proc) as entries:
        pids = [entry.name for entry in entries if entry.name.isdigit()]
    for pid in pids:
        with suppress(OSError):  # it has ended
            descriptor = os.open(f"{proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield int(pid), os.read(descriptor, 4096)
            finally:
                os.close(descriptor)
