"""GPUs through NVML: which there are, and what each is doing.

NVML knows nothing of CUDA_VISIBLE_DEVICES and numbers GPUs in the order of the PCI bus, so a GPU
is named by its UUID. What the driver does not tell is None. The partitions of a GPU (MIG) are
not listed.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import pynvml

from velodrome.agents.measurement import GpuReading
from velodrome.agents.node import Gpu
from velodrome.agents.sampling.pacing import Paced

Value = TypeVar("Value")

# The first PID namespace: PROC_PID_INIT_INO in Linux' include/linux/proc_ns.h.
HOST_PID_NAMESPACE = "pid:[4026531836]"
# From which release of the driver on a CUDA runs, all of its minor versions included.
CUDA_OF_DRIVERS = ((580, 13), (525, 12), (450, 11), (410, 10))


def inventory() -> tuple[Gpu, ...]:
    """Every GPU of this machine; none where there is no driver."""
    with _driver() as loaded:
        if not loaded:
            return ()
        version = str(_ask(pynvml.nvmlSystemGetDriverVersion) or "")
        numbers = range(_ask(pynvml.nvmlDeviceGetCount) or 0)
        handles = [(index, _ask(pynvml.nvmlDeviceGetHandleByIndex, index)) for index in numbers]
        return tuple(_gpu(index, handle, version) for index, handle in handles if handle)


def cuda_major() -> int | None:
    """The newest CUDA that the driver runs, e.g. 13; None where there is no driver.

    Where the driver does not tell, by its own number: NVIDIA's CUDA compatibility guide.
    """
    with _driver() as loaded:
        if not loaded:
            return None
        version = _ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        if version:
            return int(version) // 1000
        number = str(_ask(pynvml.nvmlSystemGetDriverVersion) or "").partition(".")[0]
        release = int(number) if number.isdecimal() else 0
        return next((cuda for least, cuda in CUDA_OF_DRIVERS if release >= least), None)


class Meter:
    """Reads the counters of some GPUs, (index, UUID) each, as often as that costs little.

    The driver's library stays loaded until the process ends.
    """

    def __init__(self, gpus: Sequence[tuple[int, str]]) -> None:
        _ask(pynvml.nvmlInit)
        self._gpus = [_Metered(index, uuid) for index, uuid in gpus]

    def read(self, pids: Collection[int]) -> tuple[GpuReading, ...]:
        """process_memory_bytes is that of the given processes together."""
        return tuple(gpu.read(pids) for gpu in self._gpus)


class _Metered:
    def __init__(self, index: int, uuid: str) -> None:
        self._unknown = GpuReading(index, uuid)
        self._handle: object = _ask(pynvml.nvmlDeviceGetHandleByUUID, uuid)
        self._pids: Collection[int] = ()
        self._paced_figures = Paced(self._figures, share=0.004)
        # Drivers list processes slowly, with milliseconds of kernel time on some.
        self._paced_memory = Paced(self._memory_of_processes)

    def read(self, pids: Collection[int]) -> GpuReading:
        if self._handle is None:
            return self._unknown
        self._pids = pids
        figures = self._paced_figures() or self._unknown
        return replace(figures, process_memory_bytes=self._paced_memory())

    def _figures(self) -> GpuReading:
        handle = self._handle
        utilization = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
        memory = _memory(handle)
        power_mw = _ask(pynvml.nvmlDeviceGetPowerUsage, handle)
        return replace(
            self._unknown,
            percent=None if utilization is None else float(utilization.gpu),
            memory_percent=None if utilization is None else float(utilization.memory),
            memory_bytes=None if memory is None else memory[1],
            power_w=None if power_mw is None else power_mw / 1000,
            energy_mj=_ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle),
            temperature_c=_temperature(handle),
            sm_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
            throttle_reasons=_throttle_reasons(handle),
        )

    def _memory_of_processes(self) -> int | None:
        lists = (
            _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, self._handle),
            _ask(pynvml.nvmlDeviceGetGraphicsRunningProcesses, self._handle),
        )
        # A process that does both stands in both lists, with all its memory in each.
        used = {entry.pid: entry.usedGpuMemory for entries in lists for entry in entries or ()}
        own = [used[pid] for pid in used.keys() & set(self._pids)]
        if lists == (None, None) or None in own:
            return None
        # The driver counts in the host's PIDs: inside a container nobody is found, which says
        # nothing.
        return sum(own) if own or _has_host_pids() else None


def _gpu(index: int, handle: object, driver: str) -> Gpu:
    memory = _memory(handle)
    limit_mw = _ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle)
    return Gpu(
        index=index,
        name=str(_ask(pynvml.nvmlDeviceGetName, handle) or ""),
        uuid=str(_ask(pynvml.nvmlDeviceGetUUID, handle) or ""),
        memory_bytes=0 if memory is None else memory[0],
        driver=driver,
        power_limit_w=None if limit_mw is None else limit_mw / 1000,
    )


def _memory(handle: object) -> tuple[int, int] | None:
    """Total and used bytes. Version 1 counts what the driver keeps for itself as used."""
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    memory = memory or _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return None if memory is None else (int(memory.total), int(memory.used))


def _temperature(handle: object) -> float | None:
    degrees = _ask(pynvml.nvmlDeviceGetTemperatureV, handle, pynvml.NVML_TEMPERATURE_GPU)
    if degrees is None:  # drivers before 575
        degrees = _ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    return None if degrees is None else float(degrees)


def _throttle_reasons(handle: object) -> int | None:
    """A bit mask, nvmlClocksEventReason* in nvml.h."""
    reasons = _ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if reasons is None:  # drivers before 535
        reasons = _ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return reasons


def _has_host_pids() -> bool:
    try:
        return os.readlink("/proc/self/ns/pid") == HOST_PID_NAMESPACE  # noqa: PTH115
    except OSError:
        return False


def _ask(call: Callable[..., Value], *arguments: object) -> Value | None:
    """What the driver answers; None for an error of any kind, a missing function included."""
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None


@contextmanager
def _driver() -> Iterator[bool]:
    """Whether the driver's library could be loaded."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()
