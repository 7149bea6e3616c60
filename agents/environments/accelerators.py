"""What computes beside the CPU: `cuda13` for GPUs whose driver runs CUDA 13, `gpu` for any."""

import re
from collections.abc import Collection

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.sampling.driver import query_gpus

NAME = r"cpu|gpu|cuda[0-9]{2}"
_CUDA = re.compile(r"cuda([0-9]{2})")
_LAST = 100  # behind every CUDA


def rank(accelerator: str, served: Collection[str]) -> int | None:
    """How well a lock that serves these fits, 0 the best; None: it does not.

    A driver runs what was built for its own CUDA or for an older one. `gpu` for the accelerator
    stands for one of which nothing is known, in a lock for every one.
    """
    if accelerator == "cpu" or accelerator in served:
        return 0 if accelerator in served else None
    if accelerator == "gpu":
        return 0 if set(served) - {"cpu"} else None
    newest = _major(accelerator)
    older = [newest - major for major in map(_major, served) if 0 < major <= newest]
    return min([*older, *([_LAST] if "gpu" in served else [])], default=None)


def here(device: str) -> str:
    """`gpu` made precise by this node's own driver, if it has one; all else as it is.

    EnvironmentFailed if the driver cannot say what it runs.
    """
    if device != "gpu":
        return device
    driver = query_gpus()
    if driver.faults and driver.cuda_major is None:
        raise EnvironmentFailed(f"the CUDA version of this node is unknown: {driver.faults[0]}")
    return f"cuda{driver.cuda_major}" if driver.cuda_major else device


def device_of(accelerator: str) -> str:
    """`cpu` or `gpu`, as a task has it."""
    return "cpu" if accelerator == "cpu" else "gpu"


def _major(accelerator: str) -> int:
    found = _CUDA.fullmatch(accelerator)
    return int(found[1]) if found else 0
