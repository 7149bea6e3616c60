"""The sampling process: it reads a worker's tree, machine and GPUs at a fixed rate.

velodrome.agents.sampling.sampler starts it with a bare interpreter (no site, few imports). It
writes one instant per line to file descriptor 1. It ends when file descriptor 0 is closed, which
the kernel does however the parent dies; when its parent changes; or when the tree has ended. It
does not use PR_SET_PDEATHSIG: that follows the parent's thread, and a pool's threads come and go.
"""

import json
import os
import resource
import select
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from velodrome.agents.sampling.cpu_times import CpuTimes
from velodrome.agents.sampling.interference_monitor import InterferenceMonitor
from velodrome.agents.sampling.machine_counters import MachineCounters, MachineReader
from velodrome.agents.sampling.top_processes import TopProcess
from velodrome.agents.sampling.tree_usage import TreeReader, TreeUsage

if TYPE_CHECKING:  # dataclasses, ctypes and NVML are loaded only where there is a GPU
    from velodrome.agents.measurement import GpuReading


class Instant(NamedTuple):
    """All counters at one instant."""

    at_ns: int  # CLOCK_MONOTONIC
    usage: TreeUsage
    machine: MachineCounters
    gpus: "tuple[GpuReading, ...]" = ()
    cost_ns: int = 0  # CPU time of the sampler until now
    top_processes: tuple[TopProcess, ...] = ()

    def line(self) -> str:
        gpus = [vars(gpu) for gpu in self.gpus]
        fields = (self.at_ns, self.usage, self.machine, gpus, self.cost_ns, self.top_processes)
        return json.dumps(fields) + "\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Instant":
        at_ns, usage, machine, gpus, cost_ns, processes = json.loads(line)
        if gpus:
            from velodrome.agents.measurement import GpuReading

            gpus = [GpuReading.from_fields(gpu) for gpu in gpus]
        return cls(
            at_ns=at_ns,
            usage=TreeUsage(*usage),
            machine=MachineCounters.from_list(machine),
            gpus=tuple(gpus),
            cost_ns=cost_ns,
            top_processes=tuple(TopProcess(*process) for process in processes),
        )


class TaskProbe:
    """Reads all counters of one worker. ProcessLookupError: no such process."""

    def __init__(
        self, pid: int, meter: "Meter | None" = None, monitor: InterferenceMonitor | None = None
    ) -> None:
        self._tree = TreeReader(pid)
        self._monitor = monitor
        self._root = pid
        self._machine = MachineReader()
        self._meter = meter
        self._cpus = os.sched_getaffinity(0)

    @property
    def is_over(self) -> bool:
        return self._tree.is_over

    def read(self) -> Instant | None:
        """Read one instant; None: nothing is left of the tree."""
        at_ns = time.monotonic_ns()
        usage = self._tree.read()
        if usage is None:
            return None
        machine = self._machine.read(self._affinity())
        gpus = self._meter.read(self._tree.pids) if self._meter else ()
        processes = self._top_processes(at_ns, usage.cpu_ns, machine.ticks)
        return Instant(at_ns, usage, machine, gpus, time.process_time_ns(), processes)

    def close(self) -> None:
        self._tree.close()
        self._machine.close()

    def _top_processes(
        self, at_ns: int, own_ns: int, ticks: CpuTimes | None
    ) -> tuple[TopProcess, ...]:
        if self._monitor is None:
            return ()
        return self._monitor.update(at_ns, own_ns, ticks, self._tree.pids, self._machine.cores)

    def _affinity(self) -> set[int]:
        """Read each time: workers set their affinity when they start."""
        with suppress(ProcessLookupError):
            self._cpus = os.sched_getaffinity(self._root)
        return self._cpus


def deadlines(hz: float) -> Iterator[int]:
    """Yield instants of CLOCK_MONOTONIC. They do not drift; missed ones are left out."""
    first_ns, period_ns = time.monotonic_ns(), round(1e9 / hz)
    yield first_ns
    while True:
        yield first_ns + period_ns * ((time.monotonic_ns() - first_ns) // period_ns + 1)


def sample(probe: TaskProbe, hz: float, parent: int) -> None:
    """Sample until the parent closes its end; one more instant is read then."""
    for deadline_ns in deadlines(hz):
        last = _wait_until(deadline_ns) or os.getppid() != parent
        instant = probe.read()
        if instant is None:
            return
        os.write(1, instant.line().encode())
        if last or probe.is_over:
            return


def _wait_until(deadline_ns: int) -> bool:
    """Sleep until then, or until the other end of file descriptor 0 is closed."""
    wait_s = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9)
    return bool(select.select([0], [], [], wait_s)[0])


class Meter(Protocol):
    """Reads the task's GPUs, of one maker."""

    def read(self, pids: Collection[int]) -> "tuple[GpuReading, ...]":
        """Read all GPUs. pids: the task's processes."""


def _start_meter(gpus: Sequence[tuple[int, str]], *, are_amd: bool) -> Meter | None:
    if not gpus:
        return None
    if are_amd:
        from velodrome.agents.sampling.amd_meter import AmdMeter

        return AmdMeter(gpus)
    from velodrome.agents.sampling.gpu_meter import GpuMeter

    return GpuMeter(gpus)


def main() -> None:
    """Sample. Its one argument is a JSON object:

    pid, hz, parent, core (or null), gpus ([index, uuid]), are_amd.
    """
    arguments = json.loads(sys.argv[1])
    if arguments["core"] is not None:
        os.sched_setaffinity(0, {arguments["core"]})
    # One file stays open for each thread of the worker.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        meter = _start_meter(arguments["gpus"], are_amd=arguments["are_amd"])
        probe = TaskProbe(arguments["pid"], meter, InterferenceMonitor())
    except ProcessLookupError:
        return
    sample(probe, arguments["hz"], arguments["parent"])
