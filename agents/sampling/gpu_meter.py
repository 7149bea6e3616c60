"""Counters of GPUs, read through NVML while a task runs.

A figure is None if the driver does not state it. The figures, by NVIDIA's NVML reference:

- percent: share of the driver's last sample period (1/6 s to 1 s) in which a kernel ran, however
few SMs it used; memory_percent: the same for memory reads and writes.

- power_w: NVML_FI_DEV_POWER_INSTANT if the driver has that field. nvmlDeviceGetPowerUsage is a mean
over the last second on Ampere and newer except GA100, so it lags behind the phases.

- energy_mj: since the driver was loaded, on Volta and newer. Counter and power share a sensor, good
to some 5 %, which some models read only part of the time (arXiv 2312.02741).

- A MIG instance has its own memory and processes. Temperature, SM clock and throttle reasons are
those of the whole GPU. NVML has no utilization in MIG mode, and its power and energy are those of
all instances together: for an instance these are None.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import pynvml

from velodrome.agents.measurement import GpuReading
from velodrome.agents.sampling import nvml
from velodrome.agents.sampling.gpu_processes import GpuShares, split_processes
from velodrome.agents.sampling.nvml import (
    HOST_PID_NAMESPACE,
    call_by_name,
    call_or_none,
    memory_bytes,
)
from velodrome.agents.sampling.rate_limit import RateLimited

Value = TypeVar("Value")

# A lost GPU answers nothing until it or the machine restarts; a further query may block.
LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)


class GpuMeter:
    """Reads the counters of GPUs, (index, UUID) each, as often as their cost allows.

    The driver's library stays loaded until the process ends. The namespace, the clock and the cost
    in ns are for tests.
    """

    def __init__(
        self,
        gpus: Sequence[tuple[int, str]],
        *,
        namespace: str | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        cost_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        call_or_none(pynvml.nvmlInit)
        within = nvml.pid_namespace() if namespace is None else namespace

        def limit_rate(read: Callable[[], Value], share: float) -> RateLimited[Value]:
            return RateLimited(read, share=share / len(gpus), now_ns=now_ns, cost_ns=cost_ns)

        self._gpus = [_GpuReader(index, uuid, within, limit_rate) for index, uuid in gpus]

    def read(self, pids: Collection[int]) -> tuple[GpuReading, ...]:
        """Read all GPUs. pids: the task's processes; all others are other_processes."""
        return tuple(gpu.read(pids) for gpu in self._gpus)


class _RateLimiter(Protocol):
    """Rate-limits a source; the share of a core is that of all GPUs together."""

    def __call__(self, read: Callable[[], Value], share: float) -> RateLimited[Value]: ...


class _GpuReader:
    def __init__(self, index: int, uuid: str, namespace: str, limit_rate: _RateLimiter) -> None:
        self._unknown = GpuReading(index, uuid)
        self._sees_all = namespace == HOST_PID_NAMESPACE
        self._lost = False
        self._handle = self._ask(pynvml.nvmlDeviceGetHandleByUUID, uuid)
        whole = None if self._handle is None else nvml.parent_gpu(self._handle)
        self._is_part = whole is not None
        self._chip = self._handle if whole is None else whole
        self._pids: Collection[int] = ()
        # Separate, so that energy is read often even if the others are slow.
        self._read_meters = limit_rate(self._meters, 0.002)
        self._read_figures = limit_rate(self._figures, 0.003)
        # Drivers list processes slowly, some with milliseconds of kernel time.
        self._read_processes = limit_rate(self._processes, 0.002)
        # The first call is far slower, and would delay the next one for long.
        for read in (self._meters, self._figures, self._processes) if self._handle else ():
            read()

    def read(self, pids: Collection[int]) -> GpuReading:
        self._pids = pids
        if self._handle is None or self._lost:
            return replace(self._unknown, lost=self._lost)
        figures = self._read_figures() or self._unknown
        power_w, energy_mj = self._read_meters() or (None, None)
        processes = self._read_processes() or GpuShares()
        if self._lost:
            return replace(self._unknown, lost=True)
        return replace(
            figures,
            power_w=power_w,
            energy_mj=energy_mj,
            process_memory_bytes=processes.own_bytes,
            other_processes=processes.other_processes,
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
        """Read power in W and energy in mJ."""
        if self._is_part:
            return None, None
        milliwatts = _instant_power_mw(self._handle)
        if milliwatts is None:
            milliwatts = self._ask(pynvml.nvmlDeviceGetPowerUsage, self._handle)
        energy_mj = self._ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)
        return None if milliwatts is None else milliwatts / 1000, energy_mj

    def _processes(self) -> GpuShares:
        compute = _memory(self._ask(pynvml.nvmlDeviceGetComputeRunningProcesses, self._handle))
        graphics = _memory(self._ask(pynvml.nvmlDeviceGetGraphicsRunningProcesses, self._handle))
        return split_processes(compute, graphics, self._pids, sees_all=self._sees_all)

    def _ask(self, call: Callable[..., Value], *arguments: object) -> Value | None:
        try:
            return call(*arguments)
        except pynvml.NVMLError as error:
            self._lost = self._lost or error.value in LOST
            return None


def _instant_power_mw(handle: object) -> int | None:
    fields = call_or_none(
        pynvml.nvmlDeviceGetFieldValues, handle, [pynvml.NVML_FI_DEV_POWER_INSTANT]
    )
    if fields is None or fields[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return int(fields[0].value.uiVal)


def _temperature(handle: object) -> float | None:
    degrees = call_by_name("nvmlDeviceGetTemperatureV", handle, pynvml.NVML_TEMPERATURE_GPU)
    if degrees is None:  # drivers before 575
        degrees = call_by_name("nvmlDeviceGetTemperature", handle, pynvml.NVML_TEMPERATURE_GPU)
    return float(degrees) if isinstance(degrees, int) else None


def _throttle_reasons(handle: object) -> int | None:
    """Bit mask, see velodrome.agents.sampling.gpu_throttling."""
    reasons = call_by_name("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if reasons is None:  # drivers before 535
        reasons = call_by_name("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    return reasons if isinstance(reasons, int) else None


def _memory(entries: Sequence[object] | None) -> dict[int, int | None] | None:
    if entries is None:
        return None
    return {entry.pid: entry.usedGpuMemory for entry in entries}  # type: ignore[attr-defined]
