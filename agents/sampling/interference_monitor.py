"""A monitor that lists top processes as soon as others use the CPU."""

import os
from collections.abc import Collection
from typing import NamedTuple

from velodrome.agents.sampling.cpu_times import CpuTimes
from velodrome.agents.sampling.process_counters import TICK_NS
from velodrome.agents.sampling.rate_limit import RateLimited
from velodrome.agents.sampling.top_processes import TopProcess, TopProcessFinder

# The kernel's ticks of 10 ms are too coarse for a shorter time.
WINDOW_NS = 400_000_000
# Of one core. The thresholds of a finding are lower: it uses the whole timed phase.
ALARM_PERCENT = {"cores": 10.0, "elsewhere": 25.0}


class _Snapshot(NamedTuple):
    at_ns: int
    own_ns: int
    ticks: CpuTimes


class InterferenceMonitor:
    """Scans processes once at the start, then only while others are busy."""

    def __init__(self, *, share: float = 0.0015) -> None:
        """share: of one core, that scans may take."""
        self._processes = TopProcessFinder()
        self._at_ns = 0
        self._tree: Collection[int] = ()
        self._cores: Collection[int] = ()
        self._previous: _Snapshot | None = None
        self._is_alarmed = False
        self._find_now = RateLimited(self._find, share=share)

    def update(
        self,
        at_ns: int,
        own_ns: int,
        ticks: CpuTimes | None,
        tree: Collection[int],
        cores: Collection[int],
    ) -> tuple[TopProcess, ...]:
        """Take one instant; return top processes, or none. own_ns: CPU time of the tree."""
        self._at_ns, self._tree, self._cores = at_ns, tree, cores
        if ticks is None:
            return ()
        if self._previous is None:
            self._find_now()
            self._previous = _Snapshot(at_ns, own_ns, ticks)
        if at_ns - self._previous.at_ns >= WINDOW_NS:
            self._is_alarmed = is_others_work_high(self._previous, _Snapshot(at_ns, own_ns, ticks))
            self._previous = _Snapshot(at_ns, own_ns, ticks)
        return (self._find_now() or ()) if self._is_alarmed else ()

    def _find(self) -> tuple[TopProcess, ...]:
        return self._processes.find(self._cores, {os.getpid(), *self._tree}, self._at_ns)


def is_others_work_high(before: _Snapshot, after: _Snapshot) -> bool:
    """Return True if others kept the task's cores, or the other cores, busy in between."""
    one_percent = (after.at_ns - before.at_ns) / 100
    own_ns = after.own_ns - before.own_ns
    grown = after.ticks.subtract(before.ticks)
    on_cores_ns = grown.core_busy * TICK_NS - own_ns
    elsewhere_ns = grown.other_cores_busy * TICK_NS
    return (
        on_cores_ns > ALARM_PERCENT["cores"] * one_percent
        or elsewhere_ns > ALARM_PERCENT["elsewhere"] * one_percent
    )
