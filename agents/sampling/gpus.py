"""Which GPUs there are, through NVML.

NVML knows nothing of CUDA_VISIBLE_DEVICES and numbers GPUs in the order of the PCI bus, so a GPU
is named by its UUID. Of a GPU in MIG mode no process can use the whole, so its instances are
listed in its place, each by the UUID (`MIG-...`) that CUDA_VISIBLE_DEVICES takes, and with the
number of the GPU that it is part of. CUDA shows a process one instance only, however many it is
given.

This runs in a process of its own (velodrome.agents.sampling.driver), the driver's start behind it.
"""

from collections.abc import Callable
from dataclasses import astuple
from typing import TypeVar

import pynvml

from velodrome.agents.node import Gpu
from velodrome.agents.sampling import nvml
from velodrome.agents.sampling.driver_faults import DRIVER, LOST, Fault, of_status

Value = TypeVar("Value")

# From which release of the driver on a CUDA runs, all of its minor versions included.
CUDA_OF_DRIVERS = ((580, 13), (525, 12), (450, 11), (410, 10))
# By these a sound driver says that it, or a GPU, has no such thing, or not for this user.
NOT_THERE = (
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
)


def tell() -> dict[str, object]:
    """What a process can use: every GPU, or the instances of one that is parted (MIG)."""
    asked = Asked()
    release = asked.needed(DRIVER, pynvml.nvmlSystemGetDriverVersion)
    found = usable(asked, str(release or ""))
    major = cuda_major(asked, str(release or ""))
    if not found and not asked.faults:
        mend = "`nvidia-smi` says whether there is one; in MIG mode it needs instances"
        asked.add(Fault(DRIVER, "shows no GPU that can be used", mend))
    return {
        "gpus": [vars(gpu) for gpu in found],
        "cuda_major": major,
        "faults": [astuple(fault) for fault in asked.faults],
    }


class Asked:
    """Questions, and what is wrong by their answers: of each GPU, or the driver, the first."""

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}
        self._lost: set[str] = set()

    @property
    def faults(self) -> tuple[Fault, ...]:
        return tuple(self._faults.values())

    def is_lost(self, whose: str) -> bool:
        return whose in self._lost

    def add(self, fault: Fault) -> None:
        self._faults.setdefault(fault.whose, fault)

    def needed(
        self, whose: str, call: Callable[..., Value], *arguments: object, but: tuple[int, ...] = ()
    ) -> Value | None:
        """None is a fault, unless by the statuses in `but`."""
        if whose in self._lost:
            return None  # asking on may block
        try:
            return call(*arguments)
        except pynvml.NVMLError as error:
            status = int(error.value)
            if status in LOST and whose != DRIVER:
                self._lost.add(whose)
                self._faults[whose] = of_status(whose, status)
            elif status not in but:
                self._faults.setdefault(whose, of_status(whose, status, call.__name__))
            return None

    def welcome(self, whose: str, call: Callable[..., Value], *arguments: object) -> Value | None:
        """None, too, where there is no such thing."""
        return self.needed(whose, call, *arguments, but=NOT_THERE)


def cuda_major(asked: Asked, release: str) -> int | None:
    """The newest CUDA that the driver runs, e.g. 13.

    Where the driver does not tell, by its own number: NVIDIA's CUDA compatibility guide.
    """
    version = asked.welcome(DRIVER, pynvml.nvmlSystemGetCudaDriverVersion_v2)
    if version:
        return int(version) // 1000
    number = release.partition(".")[0]
    least = int(number) if number.isdecimal() else 0
    return next((cuda for first, cuda in CUDA_OF_DRIVERS if least >= first), None)


def boards(asked: Asked, release: str) -> tuple[Gpu, ...]:
    """Every GPU as it is built in, parted or not."""
    return _listed(asked, release, _numbered(asked))


def usable(asked: Asked, release: str) -> tuple[Gpu, ...]:
    """Every GPU, or the instances of one that is parted."""
    parts = [
        (index, part)
        for index, handle in _numbered(asked)
        for part in (_parts(asked, index, handle) if _is_parted(asked, index, handle) else [handle])
    ]
    return _listed(asked, release, parts)


def _numbered(asked: Asked) -> list[tuple[int, object]]:
    """Those that the driver can reach; a lost one keeps its number."""
    numbers = range(asked.needed(DRIVER, pynvml.nvmlDeviceGetCount) or 0)
    handles = [
        (index, asked.needed(_name(index), pynvml.nvmlDeviceGetHandleByIndex, index))
        for index in numbers
    ]
    return [(index, handle) for index, handle in handles if handle is not None]


def _is_parted(asked: Asked, index: int, handle: object) -> bool:
    """Whether only parts of it can be used: its MIG mode is on."""
    mode = asked.welcome(_name(index), pynvml.nvmlDeviceGetMigMode, handle)
    return bool(mode and mode[0])


def _parts(asked: Asked, index: int, handle: object) -> list[object]:
    """Its MIG instances. Their numbers may have gaps where one was destroyed."""
    whose = _name(index)
    most = asked.needed(whose, pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    ask_for = pynvml.nvmlDeviceGetMigDeviceHandleByIndex
    found = [asked.welcome(whose, ask_for, handle, at) for at in range(most)]
    return [part for part in found if part is not None]


def _listed(asked: Asked, release: str, found: list[tuple[int, object]]) -> tuple[Gpu, ...]:
    """One that is lost, or has no UUID to be chosen by, is left out: it is among the faults."""
    gpus = [_gpu(asked, index, handle, release) for index, handle in found]
    return tuple(gpu for gpu in gpus if gpu.uuid and not asked.is_lost(_name(gpu.index)))


def _gpu(asked: Asked, index: int, handle: object, release: str) -> Gpu:
    whose = _name(index)
    limit_mw = asked.welcome(whose, pynvml.nvmlDeviceGetPowerManagementLimit, handle)
    if nvml.whole_of(handle) is not None:
        limit_mw = None  # of all instances together
    return Gpu(
        index=index,
        name=str(asked.needed(whose, pynvml.nvmlDeviceGetName, handle) or ""),
        uuid=str(asked.needed(whose, pynvml.nvmlDeviceGetUUID, handle) or ""),
        memory_bytes=_memory_bytes(asked, whose, handle),
        driver=release,
        power_limit_w=None if limit_mw is None else limit_mw / 1000,
    )


def _memory_bytes(asked: Asked, whose: str, handle: object) -> int:
    """0: it does not tell."""
    memory = nvml.memory_bytes(handle)
    if memory is None:
        asked.needed(whose, pynvml.nvmlDeviceGetMemoryInfo, handle)
        return 0
    return memory[0]


def _name(index: int) -> str:
    return f"GPU {index}"
