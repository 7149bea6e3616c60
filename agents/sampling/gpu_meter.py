"""What each of some GPUs is doing, read through NVML while a task runs.

What the driver does not tell is None. What the figures are, by NVIDIA's NVML reference:

- percent: share of the driver's last sample period (1/6 s to 1 s) in which a kernel ran, however
  few of the SMs it kept busy; memory_percent the same of the memory's reading and writing.
- power_w: NVML_FI_DEV_POWER_INSTANT where the driver has that field. nvmlDeviceGetPowerUsage is
  a mean over the last second on Ampere and newer, GA100 left out, so it lags behind the phases.
- energy_mj: since the driver was loaded, on Volta and newer. Counter and power come of one sensor,
  good to some 5 %, that some models read only for a part of the time (arXiv 2312.02741).
- A MIG instance has memory and processes of its own. Of its whole GPU are temperature, SM clock
  and throttle reasons. Utilization is not told in MIG mode, and power and energy are those of all
  instances together, whichever is asked: of an instance, these are None.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import pynvml

from velodrome.agents.measurement import GpuReading
from velodrome.agents.sampling import nvml
from velodrome.agents.sampling.gpu_processes import Shares, shares
from velodrome.agents.sampling.nvml import HOST_PID_NAMESPACE, ask, ask_by_name, memory_bytes
from velodrome.agents.sampling.rate_limit import Paced

Value = TypeVar("Value")

# Such a GPU answers nothing until the machine, or it, is started anew; asking on may block.
LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)


class Meter:
    """Reads the counters of some GPUs, (index, UUID) each, as often as that costs little.

    The driver's library stays loaded until the process ends. The namespace, the clock and the
    cost in ns are for tests.
    """

    def __init__(
        self,
        gpus: Sequence[tuple[int, str]],
        *,
        namespace: str | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        cost_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        ask(pynvml.nvmlInit)
        within = nvml.pid_namespace() if namespace is None else namespace

        def paced(read: Callable[[], Value], share: float) -> Paced[Value]:
            return Paced(read, share=share / len(gpus), now_ns=now_ns, cost_ns=cost_ns)

        self._gpus = [_Metered(index, uuid, within, paced) for index, uuid in gpus]

    def read(self, pids: Collection[int]) -> tuple[GpuReading, ...]:
        """process_memory_bytes is that of the given processes together; foreign are all others."""
        return tuple(gpu.read(pids) for gpu in self._gpus)


class _Pacing(Protocol):
    """Makes a source paced; the share of a core is that of all GPUs together."""

    def __call__(self, read: Callable[[], Value], share: float) -> Paced[Value]: ...


class _Metered:
    def __init__(self, index: int, uuid: str, namespace: str, paced: _Pacing) -> None:
        self._unknown = GpuReading(index, uuid)
        self._sees_all = namespace == HOST_PID_NAMESPACE
        self._lost = False
        self._handle = self._ask(pynvml.nvmlDeviceGetHandleByUUID, uuid)
        whole = None if self._handle is None else nvml.whole_of(self._handle)
        self._is_part = whole is not None
        self._chip = self._handle if whole is None else whole
        self._pids: Collection[int] = ()
        # Apart, so that energy is told often where the others are slow.
        self._paced_meters = paced(self._meters, 0.002)
        self._paced_figures = paced(self._figures, 0.003)
        # Drivers list processes slowly, with milliseconds of kernel time on some.
        self._paced_processes = paced(self._processes, 0.002)
        # The first time is far dearer, and would keep them from being read for long.
        for read in (self._meters, self._figures, self._processes) if self._handle else ():
            read()

    def read(self, pids: Collection[int]) -> GpuReading:
        self._pids = pids
        if self._handle is None or self._lost:
            return replace(self._unknown, lost=self._lost)
        figures = self._paced_figures() or self._unknown
        power_w, energy_mj = self._paced_meters() or (None, None)
        processes = self._paced_processes() or Shares()
        if self._lost:
            return replace(self._unknown, lost=True)
        return replace(
            figures,
            power_w=power_w,
            energy_mj=energy_mj,
            process_memory_bytes=processes.own_bytes,
            foreign=processes.foreign,
        )

    def _figures(self) -> GpuReading:
        chip = self._chip
        utilization = self._ask(pynvml.nvmlDeviceGetUtilizationRates, self._handle)
        memory = memory_bytes(self._handle)
        return replace(
            self._unknown,
            percent=None if utilization is None else float(utilization.gpu),
            memory_percent=None if utilization is None else float(utilization.memory),
            memory_bytes=None if memory is None else memory[1],
            temperature_c=_temperature(chip),
            sm_mhz=self._ask(pynvml.nvmlDeviceGetClockInfo, chip, pynvml.NVML_CLOCK_SM),
            throttle_reasons=_throttle_reasons(chip),
        )

    def _meters(self) -> tuple[float | None, int | None]:
        """Power in W, energy in mJ."""
        if self._is_part:
            return None, None
        milliwatts = _instant_power_mw(self._handle)
        if milliwatts is None:
            milliwatts = self._ask(pynvml.nvmlDeviceGetPowerUsage, self._handle)
        energy_mj = self._ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)
        return None if milliwatts is None else milliwatts / 1000, energy_mj

    def _processes(self) -> Shares:
        compute = _used(self._ask(pynvml.nvmlDeviceGetComputeRunningProcesses, self._handle))
        drawing = _used(self._ask(pynvml.nvmlDeviceGetGraphicsRunningProcesses, self._handle))
        return shares(compute, drawing, self._pids, sees_all=self._sees_all)

    def _ask(self, call: Callable[..., Value], *arguments: object) -> Value | None:
        try:
            return call(*arguments)
        except pynvml.NVMLError as error:
            self._lost = self._lost or error.value in LOST
            return None


def _instant_power_mw(handle: object) -> int | None:
    fields = ask(pynvml.nvmlDeviceGetFieldValues, handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])
    if fields is None or fields[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return int(fields[0].value.uiVal)


def _temperature(handle: object) -> float | None:
    degrees = ask_by_name("nvmlDeviceGetTemperatureV", handle, pynvml.NVML_TEMPERATURE_GPU)
    if degrees is None:  # drivers before 575
        degrees = ask_by_name("nvmlDeviceGetTemperature", handle, pynvml.NVML_TEMPERATURE_GPU)
    return float(degrees) if isinstance(degrees, int) else None


def _throttle_reasons(handle: object) -> int | None:
    """A bit mask, see velodrome.agents.sampling.gpu_throttling."""
    reasons = ask_by_name("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if reasons is None:  # drivers before 535
        reasons = ask_by_name("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    return reasons if isinstance(reasons, int) else None


def _used(entries: Sequence[object] | None) -> dict[int, int | None] | None:
    if entries is None:
        return None
    return {entry.pid: entry.usedGpuMemory for entry in entries}  # type: ignore[attr-defined]
