"""Looks for who disturbs a task, as soon as somebody does."""

import os
from collections.abc import Collection
from typing import NamedTuple

from velodrome.agents.sampling.cpu_times import Ticks
from velodrome.agents.sampling.process_counters import TICK_NS
from velodrome.agents.sampling.rate_limit import Paced
from velodrome.agents.sampling.top_processes import Suspect, Suspects

# The kernel's ticks of 10 ms tell little of a shorter time.
WINDOW_NS = 400_000_000
# Of one core. What flags a measurement is less: it is told from all of its time.
ALARM_PERCENT = {"cores": 10.0, "elsewhere": 25.0}


class _Mark(NamedTuple):
    at_ns: int
    own_ns: int
    ticks: Ticks


class Lookout:
    """Told of each instant. Processes are looked at once now, and then while others are busy."""

    def __init__(self, *, share: float = 0.0015) -> None:
        """share: of one core, that the looking may take."""
        self._suspects = Suspects()
        self._at_ns = 0
        self._tree: Collection[int] = ()
        self._cores: Collection[int] = ()
        self._mark: _Mark | None = None
        self._alarmed = False
        self._look_now = Paced(self._look, share=share)

    def tell(
        self,
        at_ns: int,
        own_ns: int,
        ticks: Ticks | None,
        tree: Collection[int],
        cores: Collection[int],
    ) -> tuple[Suspect, ...]:
        """own_ns: CPU time of the tree. Empty if nobody disturbs, or looked at just now."""
        self._at_ns, self._tree, self._cores = at_ns, tree, cores
        if ticks is None:
            return ()
        if self._mark is None:
            self._look_now()
            self._mark = _Mark(at_ns, own_ns, ticks)
        if at_ns - self._mark.at_ns >= WINDOW_NS:
            self._alarmed = disturbed(self._mark, _Mark(at_ns, own_ns, ticks))
            self._mark = _Mark(at_ns, own_ns, ticks)
        return (self._look_now() or ()) if self._alarmed else ()

    def _look(self) -> tuple[Suspect, ...]:
        return self._suspects.look(self._cores, {os.getpid(), *self._tree}, self._at_ns)


def disturbed(before: _Mark, after: _Mark) -> bool:
    """Whether others kept the task's cores, or the rest of the machine, busy meanwhile."""
    a_percent = (after.at_ns - before.at_ns) / 100
    own_ns = after.own_ns - before.own_ns
    grown = after.ticks.minus(before.ticks)
    on_cores_ns = grown.core_busy * TICK_NS - own_ns
    elsewhere_ns = grown.elsewhere_busy * TICK_NS
    return (
        on_cores_ns > ALARM_PERCENT["cores"] * a_percent
        or elsewhere_ns > ALARM_PERCENT["elsewhere"] * a_percent
    )
