"""The process that samples: a worker's tree, its machine and its GPUs, at a stated rate.

It is started by velodrome.agents.sampling.sampler, by a bare interpreter (no site, few imports),
and writes one instant a line to file descriptor 1. It ends when file descriptor 0 is closed, which
the kernel does however its parent dies; when it has another parent; or when the tree has ended.
Not by PR_SET_PDEATHSIG: that goes by the parent's thread, and a pool's threads come and go.
"""

import json
import os
import resource
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from velodrome.agents.sampling.cpu_times import Ticks
from velodrome.agents.sampling.interference_monitor import Lookout
from velodrome.agents.sampling.machine_counters import Counters, Machine
from velodrome.agents.sampling.top_processes import Suspect
from velodrome.agents.sampling.tree_usage import Tree, Usage

if TYPE_CHECKING:  # dataclasses, ctypes and NVML are loaded only where there is a GPU
    from velodrome.agents.measurement import GpuReading
    from velodrome.agents.sampling.gpu_meter import Meter


class Instant(NamedTuple):
    """What the counters said at one instant."""

    at_ns: int  # CLOCK_MONOTONIC
    usage: Usage
    machine: Counters
    gpus: "tuple[GpuReading, ...]" = ()
    cost_ns: int = 0  # CPU time of the sampler until now
    suspects: tuple[Suspect, ...] = ()

    def line(self) -> str:
        gpus = [vars(gpu) for gpu in self.gpus]
        told = (self.at_ns, self.usage, self.machine, gpus, self.cost_ns, self.suspects)
        return json.dumps(told) + "\n"

    @classmethod
    def of_line(cls, line: bytes) -> "Instant":
        at_ns, usage, machine, gpus, cost_ns, suspects = json.loads(line)
        if gpus:
            from velodrome.agents.measurement import GpuReading

            gpus = [GpuReading.of_fields(gpu) for gpu in gpus]
        return cls(
            at_ns=at_ns,
            usage=Usage(*usage),
            machine=Counters.of_list(machine),
            gpus=tuple(gpus),
            cost_ns=cost_ns,
            suspects=tuple(Suspect(*suspect) for suspect in suspects),
        )


class Probe:
    """Reads all counters about one worker. ProcessLookupError: there is no such process."""

    def __init__(
        self, pid: int, meter: "Meter | None" = None, lookout: Lookout | None = None
    ) -> None:
        self._tree = Tree(pid)
        self._lookout = lookout
        self._root = pid
        self._machine = Machine()
        self._meter = meter
        self._cpus = os.sched_getaffinity(0)

    @property
    def over(self) -> bool:
        return self._tree.over

    def read(self) -> Instant | None:
        """None: nothing is left of the tree."""
        at_ns = time.monotonic_ns()
        usage = self._tree.read()
        if usage is None:
            return None
        machine = self._machine.read(self._affinity())
        gpus = self._meter.read(self._tree.pids) if self._meter else ()
        suspects = self._suspects(at_ns, usage.cpu_ns, machine.ticks)
        return Instant(at_ns, usage, machine, gpus, time.process_time_ns(), suspects)

    def close(self) -> None:
        self._tree.close()
        self._machine.close()

    def _suspects(self, at_ns: int, own_ns: int, ticks: Ticks | None) -> tuple[Suspect, ...]:
        if self._lookout is None:
            return ()
        return self._lookout.tell(at_ns, own_ns, ticks, self._tree.pids, self._machine.cores)

    def _affinity(self) -> set[int]:
        """Workers set theirs when they start, so it is asked for each time."""
        with suppress(ProcessLookupError):
            self._cpus = os.sched_getaffinity(self._root)
        return self._cpus


def deadlines(hz: float) -> Iterator[int]:
    """Instants of CLOCK_MONOTONIC from now on. They do not drift; what is missed is left out."""
    begun, period = time.monotonic_ns(), round(1e9 / hz)
    yield begun
    while True:
        yield begun + period * ((time.monotonic_ns() - begun) // period + 1)


def watch(probe: Probe, hz: float, parent: int) -> None:
    """The last instant is read when the parent closes its end."""
    for deadline_ns in deadlines(hz):
        last = _closed_before(deadline_ns) or os.getppid() != parent
        instant = probe.read()
        if instant is None:
            return
        os.write(1, instant.line().encode())
        if last or probe.over:
            return


def _closed_before(deadline_ns: int) -> bool:
    """Sleeps until then, or until nobody holds the other end of file descriptor 0 any more."""
    wait_s = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9)
    return bool(select.select([0], [], [], wait_s)[0])


def _meter(gpus: Sequence[tuple[int, str]]) -> "Meter | None":
    if not gpus:
        return None
    from velodrome.agents.sampling.gpu_meter import Meter

    return Meter(gpus)


def main() -> None:
    """Its one argument is a JSON object: pid, hz, parent, core (or null), gpus ([index, uuid])."""
    asked = json.loads(sys.argv[1])
    if asked["core"] is not None:
        os.sched_setaffinity(0, {asked["core"]})
    # One file stays open for each thread of the worker.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        probe = Probe(asked["pid"], _meter(asked["gpus"]), Lookout())
    except ProcessLookupError:
        return
    watch(probe, asked["hz"], asked["parent"])
