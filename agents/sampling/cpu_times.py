"""How a machine's CPUs have spent their time so far, the cores of one task told apart."""

import os
from collections.abc import Collection, Iterable
from typing import NamedTuple

from velodrome.agents.cpusets import cpu_numbers
from velodrome.agents.sampling.kernel_files import KernelFile

# Longest line of one CPU: its name and ten counts.
LINE_BYTES = 128


class Ticks(NamedTuple):
    """Sums since the first reading, in ticks (sysconf SC_CLK_TCK a second and CPU).

    busy and all: of every CPU; time that a hypervisor stole is busy, time that waits for a disk
    is not. Without stolen time: core_busy of the task's cores, core_interrupts the part of it
    that is no process' work, elsewhere_busy of all other CPUs. core_all holds what was stolen.
    """

    busy: int = 0
    all: int = 0
    core_busy: int = 0
    core_interrupts: int = 0
    core_stolen: int = 0
    core_all: int = 0
    elsewhere_busy: int = 0

    def plus(self, other: "Ticks") -> "Ticks":
        return Ticks(*(mine + its for mine, its in zip(self, other, strict=True)))

    def minus(self, other: "Ticks") -> "Ticks":
        return Ticks(*(mine - its for mine, its in zip(self, other, strict=True)))


class TickReader:
    """Reads /proc/stat. A task's cores are its CPUs and their SMT siblings."""

    def __init__(self, proc: str, sys: str) -> None:
        self._stat = KernelFile(f"{proc}/stat", most=_stat_bytes())
        self._siblings = f"{sys}/devices/system/cpu/cpu{{}}/topology/thread_siblings_list"
        self._cpus: frozenset[int] = frozenset()
        self._cores: frozenset[int] = frozenset()
        self._last: dict[int, list[int]] = {}
        self._total = Ticks()

    def read(self, cpus: Collection[int]) -> Ticks | None:
        """None: the kernel does not say. Other CPUs than last time: what they did until now is
        nobody's."""
        text = self._stat.read()
        if not text:
            return None
        if self._cpus != frozenset(cpus):
            self._cpus = frozenset(cpus)
            self._cores = self._cpus | self._siblings_of(cpus)
            self._last = {}
        now = cpu_fields(text, self._cores)
        if self._last.keys() == now.keys():
            self._total = self._total.plus(split(_grown(self._last, now)))
        self._last = now
        return self._total

    @property
    def cores(self) -> frozenset[int]:
        """The CPUs that the task's cores have, as of the last reading."""
        return self._cores

    def close(self) -> None:
        self._stat.close()

    def _siblings_of(self, cpus: Iterable[int]) -> frozenset[int]:
        found: set[int] = set()
        for cpu in cpus:
            with KernelFile(self._siblings.format(cpu)) as file:
                found |= cpu_numbers((file.read() or b"").decode(errors="replace").strip())
        return frozenset(found)


MACHINE = -1  # the line of all CPUs together


def cpu_fields(text: bytes, cpus: Collection[int]) -> dict[int, list[int]]:
    """user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)) of all CPUs together
    and of those that are there. Guests' time is in `user` already."""
    found = {MACHINE: _fields(text)}
    for cpu in cpus:
        begin = text.find(b"\ncpu%d " % cpu)
        if begin >= 0:
            found[cpu] = _fields(text[begin + 1 : begin + 200])
    return found


def split(grown: dict[int, list[int]]) -> Ticks:
    """Of cpu_fields, or how much they grew."""
    cores = [fields for cpu, fields in grown.items() if cpu != MACHINE]
    machine = grown[MACHINE]
    core_busy = sum(map(_worked, cores))
    return Ticks(
        busy=_worked(machine) + machine[7],
        all=sum(machine),
        core_busy=core_busy,
        core_interrupts=sum(fields[5] + fields[6] for fields in cores),
        core_stolen=sum(fields[7] for fields in cores),
        core_all=sum(map(sum, cores)),
        elsewhere_busy=_worked(machine) - core_busy,
    )


def _stat_bytes() -> int:
    """Enough for the lines of all CPUs, which stand first."""
    return max(4096, LINE_BYTES * (1 + (os.cpu_count() or 1)))


def _grown(last: dict[int, list[int]], now: dict[int, list[int]]) -> dict[int, list[int]]:
    return {cpu: [b - a for a, b in zip(last[cpu], now[cpu], strict=True)] for cpu in now}


def _worked(fields: list[int]) -> int:
    user, nice, system, _idle, _iowait, irq, softirq, _steal = fields
    return user + nice + system + irq + softirq


def _fields(line: bytes) -> list[int]:
    """A kernel before 2.6.11 has no steal."""
    return [int(field) for field in line.split(b"\n", 1)[0].split()[1:9]]
