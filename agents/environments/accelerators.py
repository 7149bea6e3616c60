"""Accelerators: `cuda13` for GPUs whose driver runs CUDA 13, `rocm` for AMD's, `cpu` for none.

`gpu`: any of NVIDIA's.
"""

import re
from collections.abc import Collection, Iterable

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.gpu_allotment import find_allotment, read_given_variables
from velodrome.agents.node import Gpu
from velodrome.agents.sampling.driver import query_gpus

ROCM = "rocm"
NAME = rf"cpu|gpu|{ROCM}|cuda[0-9]{{2}}"
_CUDA = re.compile(r"cuda([0-9]{2})")
# Packages for CUDA 12 are `nvidia-cublas-cu12`, for later ones `nvidia-cuda-runtime==13.0.96`.
_PINNED = re.compile(r"^nvidia-(?:[\w-]+-cu([0-9]{2})==|cuda-runtime==([0-9]{2})\.)", re.MULTILINE)
_LAST = 100  # behind every CUDA
# The oldest GPUs for which each CUDA compiles kernels: its release notes, "Deprecated or Dropped
# Features" (13.0: Maxwell, Pascal and Volta; 12.0: Kepler; 11.0: the first Kepler).
_OLDEST_GPUS = ((13, (7, 5)), (12, (5, 0)), (11, (3, 5)))


def rank(accelerator: str, served: Collection[str]) -> int | None:
    """Return how well a lock for these accelerators fits: 0 is best; None: it does not fit.

    A driver runs builds for its own CUDA and older ones. `gpu` as the accelerator means an unknown
    GPU; in a lock, any GPU.
    """
    if accelerator in ("cpu", ROCM) or accelerator in served:
        return 0 if accelerator in served else None
    if accelerator == "gpu":
        return 0 if set(served) - {"cpu", ROCM} else None
    newest = _major(accelerator)
    older = [newest - major for major in map(_major, served) if 0 < major <= newest]
    return min([*older, *([_LAST] if "gpu" in served else [])], default=None)


def resolve_accelerator(device: str) -> str:
    """Replace `gpu` by this node's CUDA version, if it has a driver.

    EnvironmentFailed if the driver does not state its CUDA version.
    """
    if device != "gpu":
        return device
    driver = query_gpus()
    if driver.faults and driver.cuda_major is None:
        raise EnvironmentFailed(f"the CUDA version of this node is unknown: {driver.faults[0]}")
    gpus = find_allotment(driver.gpus, read_given_variables()).gpus
    return name_accelerator(driver.cuda_major or 0, gpus) or device


def name_accelerator(cuda_major: int, gpus: Iterable[Gpu]) -> str:
    """Name the newest CUDA that the driver runs and whose builds can have kernels for all the GPUs.

    cuda_major: the driver's; 0: unknown, and the name is empty. A driver of release 580 runs CUDA
    13, and a V100 beside it needs a build for CUDA 12. AMD's GPUs need one for ROCm.
    """
    found = tuple(gpus)
    if any(gpu.is_amd for gpu in found):
        return ROCM
    if not cuda_major:
        return ""
    oldest = lowest_capability(found)
    dropped = [cuda for cuda, least in _OLDEST_GPUS if oldest and oldest < least]
    return f"cuda{min([cuda_major, *(cuda - 1 for cuda in dropped)])}"


def lowest_capability(gpus: Iterable[Gpu]) -> tuple[int, ...]:
    """Return the lowest compute capability, such as (7, 0); empty: none is known."""
    return min(
        (parse_capability(gpu.compute_capability) for gpu in gpus if gpu.compute_capability),
        default=(),
    )


def parse_capability(text: str) -> tuple[int, ...]:
    """Parse `7.5`; empty for an empty text."""
    return tuple(map(int, text.split("."))) if text else ()


def correct_accelerators(served: Collection[str], lock: str) -> tuple[str, ...]:
    """Return what a lock serves, with the CUDA whose packages its text pins.

    At another version a framework may be built for another CUDA than the committed lock names.
    """
    pinned = {f"cuda{found[1] or found[2]}" for found in _PINNED.finditer(lock)}
    named = {name for name in served if _major(name)}
    if not pinned or not named:
        return tuple(served)
    return tuple(dict.fromkeys(max(pinned) if name in named else name for name in served))


def device_of(accelerator: str) -> str:
    """Return the task's device for an accelerator: `cpu` or `gpu`."""
    return "cpu" if accelerator == "cpu" else "gpu"


def is_cuda(accelerator: str) -> bool:
    """Return True for a CUDA, such as `cuda12`."""
    return bool(_major(accelerator))


def _major(accelerator: str) -> int:
    found = _CUDA.fullmatch(accelerator)
    return int(found[1]) if found else 0
