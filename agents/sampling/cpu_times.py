"""Cumulative CPU times of a machine, with those of one task's cores apart."""

import os
from collections.abc import Collection, Iterable
from typing import NamedTuple

from velodrome.agents.cpusets import cpu_numbers
from velodrome.agents.sampling.kernel_files import KernelFile

# Longest line of one CPU: its name and ten counts.
LINE_BYTES = 128


class CpuTimes(NamedTuple):
    """Sums since the first reading, in ticks (sysconf SC_CLK_TCK per second and CPU).

    busy and all: of every CPU. busy includes stolen time and excludes waiting for a disk. The
    others exclude stolen time: core_busy (the task's cores), core_interrupts (its part in
    interrupts), other_cores_busy (all other CPUs). core_all includes stolen time.
    """

    busy: int = 0
    all: int = 0
    core_busy: int = 0
    core_interrupts: int = 0
    core_stolen: int = 0
    core_all: int = 0
    other_cores_busy: int = 0

    def add(self, other: "CpuTimes") -> "CpuTimes":
        return CpuTimes(*(mine + its for mine, its in zip(self, other, strict=True)))

    def subtract(self, other: "CpuTimes") -> "CpuTimes":
        return CpuTimes(*(mine - its for mine, its in zip(self, other, strict=True)))


class CpuTimesReader:
    """Reads /proc/stat. A task's cores are its CPUs and their SMT siblings."""

    def __init__(self, proc: str, sys: str) -> None:
        self._stat = KernelFile(f"{proc}/stat", most=_stat_bytes())
        self._siblings = f"{sys}/devices/system/cpu/cpu{{}}/topology/thread_siblings_list"
        self._cpus: frozenset[int] = frozenset()
        self._cores: frozenset[int] = frozenset()
        self._last: dict[int, list[int]] = {}
        self._total = CpuTimes()

    def read(self, cpus: Collection[int]) -> CpuTimes | None:
        """Return the sums; None: unavailable. A change of CPUs skips one interval."""
        text = self._stat.read()
        if not text:
            return None
        if self._cpus != frozenset(cpus):
            self._cpus = frozenset(cpus)
            self._cores = self._cpus | self._siblings_of(cpus)
            self._last = {}
        now = parse_cpu_fields(text, self._cores)
        if self._last.keys() == now.keys():
            self._total = self._total.add(to_cpu_times(_subtract(self._last, now)))
        self._last = now
        return self._total

    @property
    def cores(self) -> frozenset[int]:
        """CPUs of the task's cores at the last reading."""
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


def parse_cpu_fields(text: bytes, cpus: Collection[int]) -> dict[int, list[int]]:
    """Parse user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).

    Of all CPUs together, and of those that exist. `user` includes guests' time.
    """
    found = {MACHINE: _parse_fields(text)}
    for cpu in cpus:
        begin = text.find(b"\ncpu%d " % cpu)
        if begin >= 0:
            found[cpu] = _parse_fields(text[begin + 1 : begin + 200])
    return found


def to_cpu_times(grown: dict[int, list[int]]) -> CpuTimes:
    """Convert the fields of parse_cpu_fields, or their growth."""
    cores = [fields for cpu, fields in grown.items() if cpu != MACHINE]
    machine = grown[MACHINE]
    core_busy = sum(map(_busy_ticks, cores))
    return CpuTimes(
        busy=_busy_ticks(machine) + machine[7],
        all=sum(machine),
        core_busy=core_busy,
        core_interrupts=sum(fields[5] + fields[6] for fields in cores),
        core_stolen=sum(fields[7] for fields in cores),
        core_all=sum(map(sum, cores)),
        other_cores_busy=_busy_ticks(machine) - core_busy,
    )


def _stat_bytes() -> int:
    """Enough for the lines of all CPUs, which come first."""
    return max(4096, LINE_BYTES * (1 + (os.cpu_count() or 1)))


def _subtract(last: dict[int, list[int]], now: dict[int, list[int]]) -> dict[int, list[int]]:
    return {cpu: [b - a for a, b in zip(last[cpu], now[cpu], strict=True)] for cpu in now}


def _busy_ticks(fields: list[int]) -> int:
    user, nice, system, _idle, _iowait, irq, softirq, _steal = fields
    return user + nice + system + irq + softirq


def _parse_fields(line: bytes) -> list[int]:
    """A kernel before 2.6.11 has no steal."""
    return [int(field) for field in line.split(b"\n", 1)[0].split()[1:9]]
