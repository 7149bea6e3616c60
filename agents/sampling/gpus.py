"""Which GPUs there are, through NVML.

NVML knows nothing of CUDA_VISIBLE_DEVICES and numbers GPUs in the order of the PCI bus, so a GPU
is named by its UUID. Of a GPU in MIG mode no process can use the whole, so its instances are
listed in its place, each by the UUID (`MIG-...`) that CUDA_VISIBLE_DEVICES takes, and with the
number of the GPU that it is part of. CUDA shows a process one instance only, however many it is
given.
"""

import pynvml

from velodrome.agents.node import Gpu
from velodrome.agents.sampling import nvml
from velodrome.agents.sampling.nvml import ask

# From which release of the driver on a CUDA runs, all of its minor versions included.
CUDA_OF_DRIVERS = ((580, 13), (525, 12), (450, 11), (410, 10))


def inventory() -> tuple[Gpu, ...]:
    """What a process can use: every GPU, or the instances of one that is parted (MIG)."""
    with nvml.loaded_driver() as loaded:
        return _listed(*_usable()) if loaded else ()


def boards() -> tuple[Gpu, ...]:
    """Every GPU as it is built in, parted or not; none where there is no driver."""
    with nvml.loaded_driver() as loaded:
        return _listed(*_numbered()) if loaded else ()


def cuda_major() -> int | None:
    """The newest CUDA that the driver runs, e.g. 13; None where there is no driver.

    Where the driver does not tell, by its own number: NVIDIA's CUDA compatibility guide.
    """
    with nvml.loaded_driver() as loaded:
        if not loaded:
            return None
        version = ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        if version:
            return int(version) // 1000
        number = str(ask(pynvml.nvmlSystemGetDriverVersion) or "").partition(".")[0]
        release = int(number) if number.isdecimal() else 0
        return next((cuda for least, cuda in CUDA_OF_DRIVERS if release >= least), None)


def _numbered() -> list[tuple[int, object]]:
    """Those that the driver can reach; a lost one keeps its number."""
    numbers = range(ask(pynvml.nvmlDeviceGetCount) or 0)
    handles = [(index, ask(pynvml.nvmlDeviceGetHandleByIndex, index)) for index in numbers]
    return [(index, handle) for index, handle in handles if handle is not None]


def _usable() -> list[tuple[int, object]]:
    return [
        (index, usable)
        for index, handle in _numbered()
        for usable in (nvml.parts(handle) if nvml.is_parted(handle) else [handle])
    ]


def _listed(*found: tuple[int, object]) -> tuple[Gpu, ...]:
    version = str(ask(pynvml.nvmlSystemGetDriverVersion) or "")
    return tuple(_gpu(index, handle, version) for index, handle in found)


def _gpu(index: int, handle: object, driver: str) -> Gpu:
    memory = nvml.memory_bytes(handle)
    limit_mw = ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle)
    if nvml.whole_of(handle) is not None:
        limit_mw = None  # of all instances together
    return Gpu(
        index=index,
        name=str(ask(pynvml.nvmlDeviceGetName, handle) or ""),
        uuid=str(ask(pynvml.nvmlDeviceGetUUID, handle) or ""),
        memory_bytes=0 if memory is None else memory[0],
        driver=driver,
        power_limit_w=None if limit_mw is None else limit_mw / 1000,
    )
