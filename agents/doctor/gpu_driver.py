"""The settings and state of each GPU, read once from its driver.

Runs in a process of its own (velodrome.agents.sampling.driver), after the driver's start.
"""

from collections.abc import Callable
from dataclasses import asdict

import pynvml

from velodrome.agents.doctor.gpu_states import GpuState, GpuStates
from velodrome.agents.node import Gpu
from velodrome.agents.sampling import nvml
from velodrome.agents.sampling.driver_faults import DRIVER
from velodrome.agents.sampling.gpu_meter import GpuMeter
from velodrome.agents.sampling.gpus import (
    DriverQueries,
    installed_gpus,
    list_bus_ids,
    query_cuda_major,
)
from velodrome.agents.sampling.nvml import call_or_none


def query() -> dict[str, object]:
    """Return the fields of GpuStates."""
    queries = DriverQueries()
    release = str(queries.require(DRIVER, pynvml.nvmlSystemGetDriverVersion) or "")
    states = GpuStates(
        driver=release,
        cuda_major=query_cuda_major(queries, release),
        gpus=tuple(_state(gpu) for gpu in installed_gpus(queries, release)),
        # The driver shows all processes only in the host's PID namespace.
        sees_all=nvml.pid_namespace() == nvml.HOST_PID_NAMESPACE,
        pci_bus_ids=tuple(list_bus_ids(queries)),
        faults=queries.faults,
    )
    return asdict(states)


def _state(gpu: Gpu) -> GpuState:
    handle = call_or_none(pynvml.nvmlDeviceGetHandleByUUID, gpu.uuid)
    if handle is None:  # lost since
        return GpuState(gpu.index, gpu.name)
    persistence = call_or_none(pynvml.nvmlDeviceGetPersistenceMode, handle)
    default_mw = call_or_none(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    clock = pynvml.NVML_CLOCK_GRAPHICS
    return GpuState(
        index=gpu.index,
        name=gpu.name,
        is_persistent=None if persistence is None else bool(persistence),
        ecc=_pair(pynvml.nvmlDeviceGetEccMode, handle),
        compute_mode=call_or_none(pynvml.nvmlDeviceGetComputeMode, handle),
        clock_mhz=call_or_none(pynvml.nvmlDeviceGetApplicationsClock, handle, clock),
        default_clock_mhz=call_or_none(pynvml.nvmlDeviceGetDefaultApplicationsClock, handle, clock),
        limit_w=gpu.power_limit_w,
        default_limit_w=None if default_mw is None else default_mw / 1000,
        mig=_pair(pynvml.nvmlDeviceGetMigMode, handle),
        pids=_pids(handle),
        throttle_reasons=GpuMeter([(gpu.index, gpu.uuid)]).read(())[0].throttle_reasons,
    )


def _pair(call: Callable[..., list[int]], handle: object) -> tuple[bool, bool] | None:
    pair = call_or_none(call, handle)
    return None if pair is None else (bool(pair[0]), bool(pair[1]))


def _pids(handle: object) -> tuple[int, ...] | None:
    lists = [
        call_or_none(pynvml.nvmlDeviceGetComputeRunningProcesses, handle),
        call_or_none(pynvml.nvmlDeviceGetGraphicsRunningProcesses, handle),
    ]
    known = [entries for entries in lists if entries is not None]
    return tuple(sorted({entry.pid for entries in known for entry in entries})) if known else None
