"""What has held a machine's processes back so far: heat, a CPU quota, want of memory."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from velodrome.agents.sampling.kernel_files import KernelFile
from velodrome.agents.sampling.pressure import Pressure
from velodrome.agents.sampling.rate_limit import Paced

# One core of a socket tells of all: they share its heat. Of two sockets, these hold both.
CORES_READ = 8


class Brake(NamedTuple):
    """Totals since some time before. None: the kernel does not say, or was not asked this time.

    memory_pressure_us: some process of the machine waited for memory. swapped_in_pages: of the
    machine, None without swap. quota_us: CPUs that did nothing for this process' control groups
    (and so for the worker), those around them included, since their CPU quota was used up.
    thermal_throttles: how often the cores asked for were slowed for heat; only Intel's tell.
    """

    memory_pressure_us: int | None = None
    swapped_in_pages: int | None = None
    quota_us: int | None = None
    thermal_throttles: int | None = None


class Brakes:
    """All read together, as often as their cost allows; none is in a hurry."""

    def __init__(self, proc: str, sys: str) -> None:
        self._memory = Pressure(f"{proc}/pressure/memory")
        self._vmstat = KernelFile(f"{proc}/vmstat", most=1 << 16)
        self._quotas = [
            file
            for path in quota_paths(proc, f"{sys}/fs/cgroup")
            if (file := KernelFile(path)).read()
        ]
        self._throttles = sys + "/devices/system/cpu/cpu{}/thermal_throttle/{}_throttle_count"
        self._files: dict[str, KernelFile] = {}
        self._cpus: Collection[int] = ()
        self._has_swap = _has_swap(proc)
        self._paced = Paced(self._all, share=0.0002)

    def read(self, cpus: Collection[int]) -> Brake:
        self._cpus = sorted(cpus)[:: -(-len(cpus) // CORES_READ) or 1]
        return self._paced() or Brake()

    def close(self) -> None:
        self._memory.close()
        for file in (self._vmstat, *self._quotas, *self._files.values()):
            file.close()

    def _all(self) -> Brake:
        return Brake(
            memory_pressure_us=self._memory.stalled_us(),
            swapped_in_pages=self._swapped_in_pages() if self._has_swap else None,
            quota_us=self._quota_us(),
            thermal_throttles=self._thermal_throttles(),
        )

    def _swapped_in_pages(self) -> int | None:
        return _count(self._vmstat.read() or b"", b"\npswpin ")

    def _quota_us(self) -> int | None:
        counts = [throttled_us(file.read() or b"") for file in self._quotas]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None

    def _thermal_throttles(self) -> int | None:
        paths = [
            self._throttles.format(cpu, what) for cpu in self._cpus for what in ("core", "package")
        ]
        texts = [self._file(path).read() or b"" for path in paths]
        counts = [int(text) for text in texts if text.strip().isdigit()]
        return sum(counts) if counts else None

    def _file(self, path: str) -> KernelFile:
        if path not in self._files:
            self._files[path] = KernelFile(path)
        return self._files[path]


def throttled_us(text: bytes) -> int | None:
    """Of cpu.stat: version 2 has throttled_usec, version 1 throttled_time in ns."""
    text = b"\n" + text
    microseconds = _count(text, b"\nthrottled_usec ")
    if microseconds is not None:
        return microseconds
    nanoseconds = _count(text, b"\nthrottled_time ")
    return None if nanoseconds is None else nanoseconds // 1000


def quota_paths(proc: str, groups: str) -> list[str]:
    """cpu.stat of this process' control groups of either version, whether it is there or not."""
    with KernelFile(f"{proc}/self/cgroup") as file:
        lines = (file.read() or b"").decode(errors="replace").splitlines()
    named = [tuple(line.split(":", 2)) for line in lines if line.count(":") >= 2]
    paths = [
        path
        for _, controllers, group in named
        if controllers == "" or "cpu" in controllers.split(",")
        for path in _upwards("/cpu" if controllers else "", group)
    ]
    return [f"{groups}{path}/cpu.stat" for path in paths]


def _upwards(mount: str, group: str) -> Iterator[str]:
    """A group and those around it. In a container the mount may be the group itself."""
    while group.strip("/"):
        yield mount + group.rstrip("/")
        group = group.rpartition("/")[0]
    yield mount


def _has_swap(proc: str) -> bool:
    with KernelFile(f"{proc}/swaps") as file:
        return (file.read() or b"").count(b"\n") > 1


def _count(text: bytes, name: bytes) -> int | None:
    rest = text.partition(name)[2]
    return int(rest.split(None, 1)[0]) if rest else None
