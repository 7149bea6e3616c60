"""What a whole machine has done so far, by the kernel's own counters."""

import os
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from velodrome.agents.sampling.cpu_times import TickReader, Ticks
from velodrome.agents.sampling.kernel_files import KernelFile
from velodrome.agents.sampling.pressure import Pressure
from velodrome.agents.sampling.rate_limit import Paced
from velodrome.agents.sampling.stall_counters import Brakes

# A clock of eight cores tells enough, and reading each of 128 would take a millisecond.
CLOCKS_READ = 8


class Counters(NamedTuple):
    """Of one machine at one instant. None: the kernel does not say, or was not asked this time.

    pressure_us and memory_pressure_us: how long some process waited for a CPU, or for memory.
    mhz: mean over the CPUs asked for. package_energy_uj: RAPL, all sockets, since the first
    reading. quota_us, thermal_throttles and swapped_in_pages: see
    velodrome.agents.sampling.stall_counters.
    """

    ticks: Ticks | None = None
    pressure_us: int | None = None
    mhz: float | None = None
    package_energy_uj: int | None = None
    memory_pressure_us: int | None = None
    quota_us: int | None = None
    thermal_throttles: int | None = None
    swapped_in_pages: int | None = None

    @classmethod
    def of_list(cls, fields: list[Any]) -> "Counters":
        """Of what JSON makes of it."""
        ticks, *rest = fields
        return cls(Ticks(*ticks) if ticks else None, *rest)


class Machine:
    """Its counters, each read as often as its cost allows. Other roots are for tests."""

    def __init__(self, proc: str = "/proc", sys: str = "/sys") -> None:
        self._ticks = TickReader(proc, sys)
        self._pressure = Pressure(f"{proc}/pressure/cpu")
        self._brakes = Brakes(proc, sys)
        self._clocks = _Clocks(proc, sys)
        self._packages = [_Package(path) for path in package_paths(f"{sys}/class/powercap")]
        self._cpus: Collection[int] = ()
        self._paced_ticks = Paced(lambda: self._ticks.read(self._cpus))
        self._paced_pressure = Paced(self._pressure.stalled_us, share=0.001)
        self._paced_energy = Paced(self._energy_uj, share=0.001)

    def read(self, cpus: Collection[int]) -> Counters:
        self._cpus = cpus
        brakes = self._brakes.read(cpus)
        return Counters(
            ticks=self._paced_ticks(),
            pressure_us=self._paced_pressure(),
            mhz=self._clocks.mhz(cpus),
            package_energy_uj=self._paced_energy(),
            **brakes._asdict(),
        )

    @property
    def cores(self) -> frozenset[int]:
        """The CPUs asked for and their SMT siblings."""
        return self._ticks.cores

    def close(self) -> None:
        self._brakes.close()
        self._ticks.close()
        self._pressure.close()
        self._clocks.close()
        for package in self._packages:
            package.close()

    def _energy_uj(self) -> int | None:
        counts = [package.energy_uj() for package in self._packages]
        known = [count for count in counts if count is not None]
        return sum(known) if known and len(known) == len(counts) else None


class _Clocks:
    """Clock rates of CPUs, from cpufreq or else from /proc/cpuinfo."""

    def __init__(self, proc: str, sys: str) -> None:
        self._path = sys + "/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
        self._cpuinfo = KernelFile(f"{proc}/cpuinfo")
        # Without these registers, as in most virtual machines, `cpu MHz` is the clock that the
        # kernel saw at boot, whatever a core does now.
        self._measured = b" aperfmperf" in (self._cpuinfo.read() or b"")
        self._files: dict[int, KernelFile] = {}
        self._paced = Paced(self._mean_mhz)
        self._cpus: tuple[int, ...] = ()

    def mhz(self, cpus: Collection[int]) -> float | None:
        self._cpus = tuple(sorted(cpus))[:: -(-len(cpus) // CLOCKS_READ) or 1]
        return self._paced()

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
            known = clocks_of_cpuinfo(self._cpuinfo.read_all() or b"", self._cpus)
        return sum(known) / len(known) if known else None


def clocks_of_cpuinfo(text: bytes, cpus: Collection[int]) -> list[float]:
    """MHz of the given CPUs, from the text of /proc/cpuinfo."""
    pattern = rb"^processor\s*:\s*(\d+)$.*?^cpu MHz\s*:\s*([\d.]+)$"
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    return [float(mhz) for cpu, mhz in found if int(cpu) in cpus]


class _Package:
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
            self._total_uj += energy_step(self._last_uj, now_uj, self._range_uj)
        self._last_uj = now_uj
        return self._total_uj


def energy_step(before_uj: int, now_uj: int, range_uj: int) -> int:
    """What was used between two readings of a counter that returns to 0 after range_uj."""
    return now_uj - before_uj if now_uj >= before_uj else now_uj + range_uj - before_uj


def package_paths(powercap: str) -> list[str]:
    """Of the sockets alone: `core` is part of them, `psys` holds them, `dram` is beside them."""
    try:
        with os.scandir(powercap) as entries:
            paths = [entry.path for entry in entries if entry.name.startswith("intel-rapl:")]
    except OSError:
        return []
    return [path for path in sorted(paths) if _name(path).startswith(b"package")]


def _name(path: str) -> bytes:
    with KernelFile(f"{path}/name") as file:
        return file.read() or b""
