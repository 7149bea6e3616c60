"""Cumulative throttle and stall counters: thermal, CPU quota, memory pressure."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from velodrome.agents.sampling.kernel_files import KernelFile
from velodrome.agents.sampling.rate_limit import RateLimited

# The cores of a socket share its heat, so few are enough; these cover two sockets.
CORES_READ = 8


class StallCounts(NamedTuple):
    """Cumulative counts. None: unknown, or not read this time.

    memory_pressure_us: some process of the machine waited for memory. swapped_in_pages: of the
    machine, None without swap. quota_us: CPU time lost to the CPU quotas of this process' control
    groups (and so the worker's) and their parents. thermal_throttles: how often the given cores
    were slowed for heat; Intel only.
    """

    memory_pressure_us: int | None = None
    swapped_in_pages: int | None = None
    quota_us: int | None = None
    thermal_throttles: int | None = None


class PressureReader:
    """Reads one PSI file of /proc/pressure: `cpu`, `memory` or `io`."""

    def __init__(self, path: str) -> None:
        self._file = KernelFile(path)

    def stalled_us(self) -> int | None:
        """Return how long at least one process has stalled; None: the kernel does not count it."""
        text = self._file.read()
        return int(text.split(b"total=", 1)[1].split(None, 1)[0]) if text else None

    def close(self) -> None:
        self._file.close()


class StallReader:
    """Reads all counts together, as often as their cost allows."""

    def __init__(self, proc: str, sys: str) -> None:
        self._memory = PressureReader(f"{proc}/pressure/memory")
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
        self._read_limited = RateLimited(self._read_all, share=0.0002)

    def read(self, cpus: Collection[int]) -> StallCounts:
        self._cpus = sorted(cpus)[:: -(-len(cpus) // CORES_READ) or 1]
        return self._read_limited() or StallCounts()

    def close(self) -> None:
        self._memory.close()
        for file in (self._vmstat, *self._quotas, *self._files.values()):
            file.close()

    def _read_all(self) -> StallCounts:
        return StallCounts(
            memory_pressure_us=self._memory.stalled_us(),
            swapped_in_pages=self._swapped_in_pages() if self._has_swap else None,
            quota_us=self._quota_us(),
            thermal_throttles=self._thermal_throttles(),
        )

    def _swapped_in_pages(self) -> int | None:
        return _parse_count(self._vmstat.read() or b"", b"\npswpin ")

    def _quota_us(self) -> int | None:
        counts = [parse_throttled_us(file.read() or b"") for file in self._quotas]
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


def parse_throttled_us(text: bytes) -> int | None:
    """Parse cpu.stat: version 2 has throttled_usec, version 1 throttled_time in ns."""
    text = b"\n" + text
    microseconds = _parse_count(text, b"\nthrottled_usec ")
    if microseconds is not None:
        return microseconds
    nanoseconds = _parse_count(text, b"\nthrottled_time ")
    return None if nanoseconds is None else nanoseconds // 1000


def quota_paths(proc: str, groups: str) -> list[str]:
    """List cpu.stat of this process' control groups of either version; it may not exist."""
    with KernelFile(f"{proc}/self/cgroup") as file:
        lines = (file.read() or b"").decode(errors="replace").splitlines()
    named = [tuple(line.split(":", 2)) for line in lines if line.count(":") >= 2]
    paths = [
        path
        for _, controllers, group in named
        if controllers == "" or "cpu" in controllers.split(",")
        for path in _enclosing_groups("/cpu" if controllers else "", group)
    ]
    return [f"{groups}{path}/cpu.stat" for path in paths]


def _enclosing_groups(mount: str, group: str) -> Iterator[str]:
    """A group and its parents. In a container the mount may be the group itself."""
    while group.strip("/"):
        yield mount + group.rstrip("/")
        group = group.rpartition("/")[0]
    yield mount


def _has_swap(proc: str) -> bool:
    with KernelFile(f"{proc}/swaps") as file:
        return (file.read() or b"").count(b"\n") > 1


def _parse_count(text: bytes, name: bytes) -> int | None:
    rest = text.partition(name)[2]
    return int(rest.split(None, 1)[0]) if rest else None
