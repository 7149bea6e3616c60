"""Cumulative counters of the whole machine, from the kernel."""

import os
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from velodrome.agents.sampling.cpu_times import CpuTimes, CpuTimesReader
from velodrome.agents.sampling.kernel_files import KernelFile
from velodrome.agents.sampling.rate_limit import RateLimited
from velodrome.agents.sampling.stall_counters import PressureReader, StallReader

# The clocks of eight cores are enough; reading 128 would take a millisecond.
CLOCKS_READ = 8


class MachineCounters(NamedTuple):
    """Counters at one instant. None: unknown, or not read this time.

    pressure_us and memory_pressure_us: how long some process waited for a CPU, or for memory. mhz:
    mean over the given CPUs. package_energy_uj: RAPL, all sockets, since the first reading.
    quota_us, thermal_throttles and swapped_in_pages: see velodrome.agents.sampling.stall_counters.
    """

    ticks: CpuTimes | None = None
    pressure_us: int | None = None
    mhz: float | None = None
    package_energy_uj: int | None = None
    memory_pressure_us: int | None = None
    quota_us: int | None = None
    thermal_throttles: int | None = None
    swapped_in_pages: int | None = None

    @classmethod
    def from_list(cls, fields: list[Any]) -> "MachineCounters":
        """Restore from JSON."""
        ticks, *rest = fields
        return cls(CpuTimes(*ticks) if ticks else None, *rest)


class MachineReader:
    """Reads each counter as often as its cost allows. Other roots are for tests."""

    def __init__(self, proc: str = "/proc", sys: str = "/sys") -> None:
        self._ticks = CpuTimesReader(proc, sys)
        self._pressure = PressureReader(f"{proc}/pressure/cpu")
        self._stalls = StallReader(proc, sys)
        self._clocks = _ClockReader(proc, sys)
        self._packages = [_PackageEnergy(path) for path in package_paths(f"{sys}/class/powercap")]
        self._cpus: Collection[int] = ()
        self._read_ticks = RateLimited(lambda: self._ticks.read(self._cpus))
        self._read_pressure = RateLimited(self._pressure.stalled_us, share=0.001)
        self._read_energy = RateLimited(self._energy_uj, share=0.001)

    def read(self, cpus: Collection[int]) -> MachineCounters:
        self._cpus = cpus
        stalls = self._stalls.read(cpus)
        return MachineCounters(
            ticks=self._read_ticks(),
            pressure_us=self._read_pressure(),
            mhz=self._clocks.mhz(cpus),
            package_energy_uj=self._read_energy(),
            **stalls._asdict(),
        )

    @property
    def cores(self) -> frozenset[int]:
        """The CPUs of the last reading, with their SMT siblings."""
        return self._ticks.cores

    def close(self) -> None:
        self._stalls.close()
        self._ticks.close()
        self._pressure.close()
        self._clocks.close()
        for package in self._packages:
            package.close()

    def _energy_uj(self) -> int | None:
        counts = [package.energy_uj() for package in self._packages]
        known = [count for count in counts if count is not None]
        return sum(known) if known and len(known) == len(counts) else None


class _ClockReader:
    """Clock rates of CPUs, from cpufreq or else from /proc/cpuinfo."""

    def __init__(self, proc: str, sys: str) -> None:
        self._path = sys + "/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
        self._cpuinfo = KernelFile(f"{proc}/cpuinfo")
        # Without these registers, as in most virtual machines, `cpu MHz` is the clock that the
        # kernel saw at boot, whatever a core does now.
        self._measured = b" aperfmperf" in (self._cpuinfo.read() or b"")
        self._files: dict[int, KernelFile] = {}
        self._read_clocks = RateLimited(self._mean_mhz)
        self._cpus: tuple[int, ...] = ()

    def mhz(self, cpus: Collection[int]) -> float | None:
        self._cpus = tuple(sorted(cpus))[:: -(-len(cpus) // CLOCKS_READ) or 1]
        return self._read_clocks()

    def close(self) -> None:
        for file in (self._cpuinfo, *self._files.values()):
            file.close()

    def _mean_mhz(self) -> float | None:
        for cpu in self._cpus:
            if cpu not in self._files:
                self._files[cpu] = KernelFile(self._path.format(cpu))
        texts = [self._files[cpu].read() or b"" for cpu in self._cpus]
        known = [int(text) / 1000 for text in texts if text.strip().isdigit()]
        if not known and self._measured:
            known = parse_clocks(self._cpuinfo.read_all() or b"", self._cpus)
        return sum(known) / len(known) if known else None


def parse_clocks(text: bytes, cpus: Collection[int]) -> list[float]:
    """Parse MHz of the given CPUs from the text of /proc/cpuinfo."""
    pattern = rb"^processor\s*:\s*(\d+)$.*?^cpu MHz\s*:\s*([\d.]+)$"
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return [float(mhz) for cpu, mhz in found if int(cpu) in cpus]


class _PackageEnergy:
    """RAPL's counter of one socket, which wraps within minutes to hours."""

    def __init__(self, path: str) -> None:
        self._file = KernelFile(f"{path}/energy_uj")
        with KernelFile(f"{path}/max_energy_range_uj") as file:
            self._range_uj = int(file.read() or 0)
        self._last_uj: int | None = None
        self._total_uj = 0

    def close(self) -> None:
        self._file.close()

    def energy_uj(self) -> int | None:
        text = self._file.read()
        if not text:
            return None
        now_uj = int(text)
        if self._last_uj is not None:
            self._total_uj += energy_growth(self._last_uj, now_uj, self._range_uj)
        self._last_uj = now_uj
        return self._total_uj


def energy_growth(before_uj: int, now_uj: int, range_uj: int) -> int:
    """Return the growth between two readings of a counter that wraps after range_uj."""
    return now_uj - before_uj if now_uj >= before_uj else now_uj + range_uj - before_uj


def package_paths(powercap: str) -> list[str]:
    """List the sockets' paths: `core` is part of them, `psys` contains them, `dram` is apart."""
    try:
        with os.scandir(powercap) as entries:
            paths = [entry.path for entry in entries if entry.name.startswith("intel-rapl:")]
    except OSError:
        return []
    return [path for path in sorted(paths) if _name(path).startswith(b"package")]


def _name(path: str) -> bytes:
    with KernelFile(f"{path}/name") as file:
        return file.read() or b""
