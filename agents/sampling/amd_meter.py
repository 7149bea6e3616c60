"""Counters of AMD GPUs, read from the kernel's files while a task runs.

A figure is None if the driver does not state it. Source: kernel documentation, "AMDGPU Driver",
sections "GPU Power/Thermal Controls and Monitoring" and "Misc AMDGPU driver information":

- percent: gpu_busy_percent, the firmware's load over all units; memory_percent: mem_busy_percent,
the same for memory. NVML states shares of time instead.

- memory_bytes: mem_info_vram_used, of all processes.

- power_w: power1_input (instantaneous), else power1_average; of an APU, the CPU's too. There is no
energy counter, so that energy is integrated power.

- temperature_c: of the edge; a chip without that sensor states the junction first.

- process_memory_bytes, other_processes: vram_<gpu_id> of each process of the compute driver
(kfd_process.c), by the host's PIDs.

Never run on an AMD GPU: tested on made-up files.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from velodrome.agents.measurement import GpuReading
from velodrome.agents.sampling import nvml, pci_accelerators
from velodrome.agents.sampling.amd_gpus import AmdDevice, list_amd_devices
from velodrome.agents.sampling.gpu_processes import GpuShares, split_processes
from velodrome.agents.sampling.kernel_files import KernelFile
from velodrome.agents.sampling.rate_limit import RateLimited

Value = TypeVar("Value")

PROCESSES = Path("class", "kfd", "kfd", "proc")


class AmdMeter:
    """Reads the counters of GPUs, (index, UUID) each, as often as their cost allows.

    sys: in place of /sys. The namespace, the clock and the cost in ns are for tests.
    """

    def __init__(
        self,
        gpus: Sequence[tuple[int, str]],
        *,
        sys: Path | None = None,
        namespace: str | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        cost_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        root = sys or pci_accelerators.SYS
        within = nvml.pid_namespace() if namespace is None else namespace
        sees_all = within == nvml.HOST_PID_NAMESPACE
        devices = {device.gpu.uuid: device for device in list_amd_devices(root)}

        def limit_rate(read: Callable[[], Value], share: float) -> RateLimited[Value]:
            return RateLimited(read, share=share / len(gpus), now_ns=now_ns, cost_ns=cost_ns)

        self._readers = [
            _AmdReader(index, uuid, devices.get(uuid), root / PROCESSES, sees_all=sees_all)
            for index, uuid in gpus
        ]
        self._figures = [limit_rate(reader.read_figures, 0.005) for reader in self._readers]
        self._processes = [limit_rate(reader.read_processes, 0.002) for reader in self._readers]

    def read(self, pids: Collection[int]) -> tuple[GpuReading, ...]:
        """Read all GPUs. pids: the task's processes; all others are other_processes."""
        for reader in self._readers:
            reader.pids = pids
        sources = zip(self._readers, self._figures, self._processes, strict=True)
        return tuple(
            _join(figures() or reader.unknown, processes() or GpuShares())
            for reader, figures, processes in sources
        )


def _join(figures: GpuReading, shares: GpuShares) -> GpuReading:
    if figures.lost:
        return figures
    own, others = shares.own_bytes, shares.other_processes
    return replace(figures, process_memory_bytes=own, other_processes=others)


class _AmdReader:
    """The open files of one GPU; of one that is gone, none."""

    def __init__(
        self, index: int, uuid: str, device: AmdDevice | None, processes: Path, *, sees_all: bool
    ) -> None:
        self.pids: Collection[int] = ()
        self.unknown = GpuReading(index, uuid, lost=device is None)
        self._sees_all = sees_all
        self._processes = processes
        self._number = device.number if device else ""
        folder = device.folder if device else Path("/nowhere")
        sensors = next(iter(sorted(folder.glob("hwmon/hwmon*"))), folder)
        self._load = _open(folder / "gpu_busy_percent")
        self._memory_load = _open(folder / "mem_busy_percent")
        self._memory = _open(folder / "mem_info_vram_used")
        self._power = _open(sensors / "power1_input", sensors / "power1_average")
        self._temperature = _open(*(sensors / f"temp{at}_input" for at in (1, 2, 3)))
        self._clock = _open(sensors / "freq1_input")

    def read_figures(self) -> GpuReading:
        load, memory = _read(self._load), _read(self._memory)
        microwatts, millidegrees = _read(self._power), _read(self._temperature)
        hertz, memory_load = _read(self._clock), _read(self._memory_load)
        if load is memory is microwatts is millidegrees is None:  # its device is gone
            return replace(self.unknown, lost=True)
        return replace(
            self.unknown,
            percent=None if load is None else float(load),
            memory_percent=None if memory_load is None else float(memory_load),
            memory_bytes=memory,
            power_w=None if microwatts is None else microwatts / 1e6,
            temperature_c=None if millidegrees is None else millidegrees / 1000,
            sm_mhz=None if hertz is None else hertz // 1_000_000,
        )

    def read_processes(self) -> GpuShares:
        used = dict(self._list_processes()) if self._processes.is_dir() else None
        return split_processes(used, None, self.pids, sees_all=self._sees_all)

    def _list_processes(self) -> Iterator[tuple[int, int | None]]:
        """List the processes that hold memory of this GPU; each opens all GPUs at its start."""
        for place in self._processes.iterdir():
            with KernelFile(str(place / f"vram_{self._number}")) as file:
                size = _read(file)
            if place.name.isdigit() and size:
                yield int(place.name), size


def _open(*paths: Path) -> KernelFile:
    """Open the first file that has a number, else the last one."""
    for path in paths[:-1]:
        file = KernelFile(str(path))
        if _read(file) is not None:
            return file
        file.close()
    return KernelFile(str(paths[-1]))


def _read(file: KernelFile) -> int | None:
    text = (file.read() or b"").strip()
    return int(text) if text.isdigit() else None
