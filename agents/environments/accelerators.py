"""Accelerators: `cuda13` for GPUs whose driver runs CUDA 13, `gpu` for any, `cpu` for none."""

import re
from collections.abc import Collection

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.sampling.driver import query_gpus

NAME = r"cpu|gpu|cuda[0-9]{2}"
_CUDA = re.compile(r"cuda([0-9]{2})")
_LAST = 100  # behind every CUDA


def rank(accelerator: str, served: Collection[str]) -> int | None:
    """Return how well a lock for these accelerators fits: 0 is best; None: it does not fit.

    A driver runs builds for its own CUDA and older ones. `gpu` as the accelerator means an unknown
    GPU; in a lock, any GPU.
    """
    if accelerator == "cpu" or accelerator in served:
        return 0 if accelerator in served else None
    if accelerator == "gpu":
        return 0 if set(served) - {"cpu"} else None
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
    return f"cuda{driver.cuda_major}" if driver.cuda_major else device


def device_of(accelerator: str) -> str:
    """Return the task's device for an accelerator: `cpu` or `gpu`."""
    return "cpu" if accelerator == "cpu" else "gpu"


def _major(accelerator: str) -> int:
    found = _CUDA.fullmatch(accelerator)
    return int(found[1]) if found else 0
