"""Conversion of a sampler's instants to readings: percentages, totals and phases."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from velodrome.adapters.protocol import Phase
from velodrome.agents.measurement import Reading
from velodrome.agents.sampling.cpu_times import CpuTimes
from velodrome.agents.sampling.process_counters import TICK_NS
from velodrome.agents.sampling.sampler_process import Instant


def to_readings(instants: Sequence[Instant]) -> tuple[Reading, ...]:
    """Compute percentages from counter growth since the last known value; no phases yet."""
    cpu, node, pressure, memory = _Growth(most=math.inf), _Growth(), _Growth(), _Growth()
    cores = _OtherCpuGrowth()
    if instants:
        first = instants[0]
        cpu.percent(0, first.at_ns - first.usage.age_ns)
    readings = []
    for instant in instants:
        usage, machine, at_ns = instant.usage, instant.machine, instant.at_ns
        ticks = machine.ticks
        readings.append(
            Reading(
                at_ns=at_ns,
                phase="",
                cpu_percent=cpu.percent(usage.cpu_ns, at_ns) or 0.0,
                rss_bytes=usage.rss_bytes,
                threads=usage.threads,
                context_switches=usage.context_switches,
                read_bytes=usage.read_bytes,
                written_bytes=usage.written_bytes,
                node_cpu_percent=node.percent(ticks.busy, ticks.all) if ticks else None,
                cpu_mhz=machine.mhz,
                pressure_percent=pressure.percent(_ns(machine.pressure_us), at_ns),
                package_energy_uj=machine.package_energy_uj,
                gpus=instant.gpus,
                **cores.shares(at_ns, usage.cpu_ns, ticks)._asdict(),
                memory_pressure_percent=memory.percent(_ns(machine.memory_pressure_us), at_ns),
                quota_us=machine.quota_us,
                thermal_throttles=machine.thermal_throttles,
                swapped_in_pages=machine.swapped_in_pages,
                top_processes=instant.top_processes,
            )
        )
    return tuple(readings)


def assign_phases(readings: Sequence[Reading], phases: Sequence[Phase]) -> tuple[Reading, ...]:
    """Set each reading's phase: the last one that had begun; "" before the first."""
    return tuple(
        replace(
            reading,
            phase=next(
                (phase.name for phase in reversed(phases) if phase.at_ns <= reading.at_ns), ""
            ),
        )
        for reading in readings
    )


def peak_rss_bytes(instants: Sequence[Instant]) -> int | None:
    """Return the tree's peak. Short peaks of one process count; of their sum, they may not."""
    usages = [instant.usage for instant in instants]
    return max((max(usage.rss_bytes, usage.peak_rss_bytes) for usage in usages), default=None)


class _Growth:
    """Growth of one counter relative to another, in percent, since both were last known.

    Clipped to 0 and `most`: the kernel's idle time may fall a little, and two counters are not read
    at the same nanosecond.
    """

    def __init__(self, most: float = 100.0) -> None:
        self._most = most
        self._last: tuple[int, int] | None = None

    def percent(self, part: int | None, whole: int | None) -> float | None:
        if part is None or whole is None:
            return None
        last, self._last = self._last, (part, whole)
        if last is None or whole <= last[1]:
            return None
        percent = 100 * (part - last[0]) / (whole - last[1])
        return min(max(percent, 0.0), self._most)


class _Shares(NamedTuple):
    """The fields of Reading."""

    other_cpu_percent: float | None = None
    interrupt_percent: float | None = None
    steal_percent: float | None = None
    other_cores_percent: float | None = None


class _OtherCpuGrowth:
    """Growth of others' work, on the task's cores and on the other cores."""

    def __init__(self) -> None:
        self._last: tuple[int, int, CpuTimes] | None = None

    def shares(self, at_ns: int, own_ns: int, ticks: CpuTimes | None) -> _Shares:
        """own_ns: CPU time of the task's processes until now."""
        if ticks is None:
            return _Shares()
        last, self._last = self._last, (at_ns, own_ns, ticks)
        if last is None or ticks.core_all <= last[2].core_all:
            return _Shares()
        one_percent_ns = (at_ns - last[0]) / 100
        grown = ticks.subtract(last[2])
        return _Shares(
            # Not clipped at 0: over several readings, errors of either sign cancel.
            other_cpu_percent=(grown.core_busy * TICK_NS - (own_ns - last[1])) / one_percent_ns,
            interrupt_percent=grown.core_interrupts * TICK_NS / one_percent_ns,
            steal_percent=100 * grown.core_stolen / grown.core_all,
            other_cores_percent=grown.other_cores_busy * TICK_NS / one_percent_ns,
        )


def _ns(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds * 1000
