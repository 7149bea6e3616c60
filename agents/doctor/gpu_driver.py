"""How each GPU is set and what it does, asked of its driver once."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import pynvml

from velodrome.agents.doctor.gpu_states import GpuState, GpuStates
from velodrome.agents.node import Gpu
from velodrome.agents.sampling.gpus import HOST_PID_NAMESPACE, Meter, cuda_major, inventory

Value = TypeVar("Value")


def read() -> GpuStates | None:
    """None where there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return GpuStates(
            driver=_ask(pynvml.nvmlSystemGetDriverVersion) or "",
            cuda_major=cuda_major(),
            gpus=tuple(_state(gpu) for gpu in inventory()),
            sees_all=_has_host_pids(),
        )
    finally:
        pynvml.nvmlShutdown()


def _state(gpu: Gpu) -> GpuState:
    handle = _ask(pynvml.nvmlDeviceGetHandleByUUID, gpu.uuid)
    if handle is None:  # lost since
        return GpuState(gpu.index, gpu.name)
    persistence = _ask(pynvml.nvmlDeviceGetPersistenceMode, handle)
    default_mw = _ask(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    clock = pynvml.NVML_CLOCK_GRAPHICS
    return GpuState(
        index=gpu.index,
        name=gpu.name,
        is_persistent=None if persistence is None else bool(persistence),
        ecc=_pair(pynvml.nvmlDeviceGetEccMode, handle),
        compute_mode=_ask(pynvml.nvmlDeviceGetComputeMode, handle),
        clock_mhz=_ask(pynvml.nvmlDeviceGetApplicationsClock, handle, clock),
        default_clock_mhz=_ask(pynvml.nvmlDeviceGetDefaultApplicationsClock, handle, clock),
        limit_w=gpu.power_limit_w,
        default_limit_w=None if default_mw is None else default_mw / 1000,
        mig=_pair(pynvml.nvmlDeviceGetMigMode, handle),
        pids=_pids(handle),
        throttle_reasons=Meter([(gpu.index, gpu.uuid)]).read(())[0].throttle_reasons,
    )


def _pair(call: Callable[..., list[int]], handle: object) -> tuple[bool, bool] | None:
    told = _ask(call, handle)
    return None if told is None else (bool(told[0]), bool(told[1]))


def _pids(handle: object) -> tuple[int, ...] | None:
    lists = [
        _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle),
        _ask(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle),
    ]
    told = [entries for entries in lists if entries is not None]
    return tuple(sorted({entry.pid for entries in told for entry in entries})) if told else None


def _has_host_pids() -> bool:
    """Whether the driver, which counts in the host's PIDs, shows us all processes."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid") == HOST_PID_NAMESPACE  # noqa: PTH115
    return False


def _ask(call: Callable[..., Value], *arguments: object) -> Value | None:
    """None for an error of any kind, a missing function included."""
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None
