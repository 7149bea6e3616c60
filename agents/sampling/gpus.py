"""The inventory of GPUs, through NVML.

NVML ignores CUDA_VISIBLE_DEVICES and numbers GPUs by PCI bus, so a GPU is named by its UUID. A GPU
in MIG mode cannot be used as a whole, so its instances are listed instead, each with the UUID
(`MIG-...`) that CUDA_VISIBLE_DEVICES takes and the number of its GPU. CUDA shows a process only one
instance, however many it is given.

Runs in a process of its own (velodrome.agents.sampling.driver), after the driver's start.
"""

from collections.abc import Callable
from dataclasses import astuple
from typing import TypeVar

import pynvml

from velodrome.agents.node import Gpu
from velodrome.agents.sampling import nvml
from velodrome.agents.sampling.driver_faults import (
    DRIVER,
    LOST,
    RESTART,
    DriverFault,
    status_fault,
)

Value = TypeVar("Value")

# The first driver release that runs each CUDA, all of its minor versions included.
CUDA_OF_DRIVERS = ((580, 13), (525, 12), (450, 11), (410, 10))
# Statuses of a sound driver or GPU without that feature, or without access for this user.
NOT_THERE = (
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
)


def query() -> dict[str, object]:
    """List usable GPUs, the CUDA version and all faults, as JSON values."""
    queries = DriverQueries()
    release = queries.require(DRIVER, pynvml.nvmlSystemGetDriverVersion)
    gpus = usable_gpus(queries, str(release or ""))
    major = query_cuda_major(queries, str(release or ""))
    if not gpus and not queries.faults:
        mend = "Check `nvidia-smi`; a GPU in MIG mode needs instances"
        queries.add(DriverFault(DRIVER, "shows no usable GPU", mend))
    return {
        "gpus": [_list_read_fields(gpu) for gpu in gpus],
        "cuda_major": major,
        "pci_bus_ids": list_bus_ids(queries),
        "faults": [astuple(fault) for fault in queries.faults],
    }


def _list_read_fields(gpu: Gpu) -> dict[str, object]:
    """List the fields that the driver states: all but the NUMA node, which the kernel does."""
    return {name: value for name, value in vars(gpu).items() if name != "numa_node"}


class DriverQueries:
    """Calls of the driver that collect the first fault of each GPU and of the driver."""

    def __init__(self) -> None:
        self._faults: dict[str, DriverFault] = {}
        self._lost: set[str] = set()

    @property
    def faults(self) -> tuple[DriverFault, ...]:
        return tuple(self._faults.values())

    def is_lost(self, whose: str) -> bool:
        return whose in self._lost

    def add(self, fault: DriverFault) -> None:
        self._faults.setdefault(fault.whose, fault)

    def require(
        self, whose: str, call: Callable[..., Value], *arguments: object, but: tuple[int, ...] = ()
    ) -> Value | None:
        """Call the driver; a failure is a fault, except for the statuses in `but`."""
        if whose in self._lost:
            return None  # a further query may block
        try:
            return call(*arguments)
        except pynvml.NVMLError as error:
            status = int(error.value)
            if status in LOST and whose != DRIVER:
                self._lost.add(whose)
                self._faults[whose] = status_fault(whose, status)
            elif status not in but:
                self._faults.setdefault(whose, status_fault(whose, status, call.__name__))
            return None

    def optional(self, whose: str, call: Callable[..., Value], *arguments: object) -> Value | None:
        """Call the driver for a feature that a sound GPU may lack."""
        return self.require(whose, call, *arguments, but=NOT_THERE)


def query_cuda_major(queries: DriverQueries, release: str) -> int | None:
    """Return the newest CUDA that the driver runs, e.g. 13.

    If the driver does not state it, derived from its release: NVIDIA's CUDA compatibility guide.
    """
    version = queries.optional(DRIVER, pynvml.nvmlSystemGetCudaDriverVersion_v2)
    if version:
        return int(version) // 1000
    number = release.partition(".")[0]
    least = int(number) if number.isdecimal() else 0
    return next((cuda for first, cuda in CUDA_OF_DRIVERS if least >= first), None)


def installed_gpus(queries: DriverQueries, release: str) -> tuple[Gpu, ...]:
    """List every physical GPU, in MIG mode or not."""
    return _describe_gpus(queries, release, _reachable_gpus(queries))


def usable_gpus(queries: DriverQueries, release: str) -> tuple[Gpu, ...]:
    """List every GPU, with MIG instances in place of a GPU in MIG mode."""
    parts = [
        (index, part)
        for index, handle in _reachable_gpus(queries)
        for part in (
            _mig_instances(queries, index, handle)
            if _is_in_mig_mode(queries, index, handle)
            else [handle]
        )
    ]
    return _describe_gpus(queries, release, parts)


def list_bus_ids(queries: DriverQueries) -> list[str]:
    """List the PCI addresses of all GPUs that the driver counts, as `00000000:03:00.0`.

    Empty for one that it cannot reach, or whose address it does not state.
    """
    count = queries.require(DRIVER, pynvml.nvmlDeviceGetCount) or 0
    handles = dict(_reachable_gpus(queries))
    return [_bus_id(handles[index]) if index in handles else "" for index in range(count)]


def _bus_id(handle: object) -> str:
    found = nvml.call_or_none(pynvml.nvmlDeviceGetPciInfo, handle)
    return "" if found is None else str(found.busId)


def _reachable_gpus(queries: DriverQueries) -> list[tuple[int, object]]:
    """List GPUs that the driver can reach; a lost one keeps its number."""
    numbers = range(queries.require(DRIVER, pynvml.nvmlDeviceGetCount) or 0)
    handles = [
        (index, queries.require(_name(index), pynvml.nvmlDeviceGetHandleByIndex, index))
        for index in numbers
    ]
    return [(index, handle) for index, handle in handles if handle is not None]


def _is_in_mig_mode(queries: DriverQueries, index: int, handle: object) -> bool:
    """Return True in MIG mode: then only its instances can be used."""
    mode = queries.optional(_name(index), pynvml.nvmlDeviceGetMigMode, handle)
    return bool(mode and mode[0])


def _mig_instances(queries: DriverQueries, index: int, handle: object) -> list[object]:
    """List the instances; numbers have gaps where one was destroyed."""
    whose = _name(index)
    most = queries.require(whose, pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    get_instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex
    found = [queries.optional(whose, get_instance, handle, at) for at in range(most)]
    parts = [part for part in found if part is not None]
    if not parts:
        mend = f"Make some (`sudo nvidia-smi mig -i {index} -cgi ... -C`), or end that mode"
        queries.add(DriverFault(whose, "is in MIG mode and has no instance", mend))
    return parts


def _describe_gpus(
    queries: DriverQueries, release: str, found: list[tuple[int, object]]
) -> tuple[Gpu, ...]:
    """Describe the GPUs, without lost ones and those without UUID: they are faults."""
    gpus = [_describe_gpu(queries, index, handle, release) for index, handle in found]
    for gpu in gpus:
        if not gpu.uuid:  # an earlier fault of that GPU is kept
            queries.add(DriverFault(_name(gpu.index), "states no UUID", RESTART))
    return tuple(gpu for gpu in gpus if gpu.uuid and not queries.is_lost(_name(gpu.index)))


def _describe_gpu(queries: DriverQueries, index: int, handle: object, release: str) -> Gpu:
    whose = _name(index)
    limit_mw = queries.optional(whose, pynvml.nvmlDeviceGetPowerManagementLimit, handle)
    if nvml.parent_gpu(handle) is not None:
        limit_mw = None  # of all instances together
    return Gpu(
        index=index,
        name=str(queries.require(whose, pynvml.nvmlDeviceGetName, handle) or ""),
        uuid=str(queries.require(whose, pynvml.nvmlDeviceGetUUID, handle) or ""),
        memory_bytes=_memory_bytes(queries, whose, handle),
        driver=release,
        power_limit_w=None if limit_mw is None else limit_mw / 1000,
        compute_capability=_compute_capability(queries, whose, handle),
    )


def _compute_capability(queries: DriverQueries, whose: str, handle: object) -> str:
    """Empty: unknown. An instance has that of its GPU."""
    whole = nvml.parent_gpu(handle) or handle
    found = queries.optional(whose, pynvml.nvmlDeviceGetCudaComputeCapability, whole)
    return ".".join(map(str, found)) if found else ""


def _memory_bytes(queries: DriverQueries, whose: str, handle: object) -> int:
    """0: unknown."""
    memory = nvml.memory_bytes(handle)
    if memory is None:
        queries.require(whose, pynvml.nvmlDeviceGetMemoryInfo, handle)
        return 0
    return memory[0]


def _name(index: int) -> str:
    return f"GPU {index}"
