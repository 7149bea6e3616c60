"""The GPUs that a process was given: CUDA_VISIBLE_DEVICES, or the number that its Ray counts.

A workload manager such as Slurm names a job's GPUs in CUDA_VISIBLE_DEVICES, and the driver lists
the GPUs of others beside them. Syntax and meaning: CUDA Programming Guide, section
"CUDA_VISIBLE_DEVICES".
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.agents.node import Gpu, Node

VARIABLE = "CUDA_VISIBLE_DEVICES"
# ROCm, "GPU isolation techniques".
ROCM_VARIABLE, HIP_VARIABLES = "ROCR_VISIBLE_DEVICES", ("HIP_VISIBLE_DEVICES", VARIABLE)
ORDER = "CUDA_DEVICE_ORDER"
BY_PCI_BUS = "PCI_BUS_ID"
PROC = Path("/proc")
RAYLET = "raylet"
SHOWN = 60  # characters of the variable: eight UUIDs are longer than a line


@dataclass(frozen=True)
class GpuAllotment:
    """The GPUs of a process. note: why it has fewer than the machine; empty: it has all."""

    gpus: tuple[Gpu, ...]
    note: str = ""


def find_allotment(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> GpuAllotment:
    """Select the GPUs that these variables leave to a process, in the order of `gpus`."""
    if any(gpu.is_amd for gpu in gpus):
        return _find_amd_allotment(gpus, environ)
    visible = environ.get(VARIABLE)
    if visible is None:
        return GpuAllotment(tuple(gpus))
    given = select_gpus(gpus, visible)
    if len(given) == len(gpus):
        return GpuAllotment(given)
    shown = visible if len(visible) <= SHOWN else f"{visible[:SHOWN]}..."
    note = _describe(len(given), len(gpus), f"{VARIABLE}={shown}")
    if _is_ambiguous(gpus, visible, environ.get(ORDER, "")):
        note += f". GPUs are counted by PCI bus; CUDA does so only with {ORDER}={BY_PCI_BUS}"
    return GpuAllotment(given, note)


def _find_amd_allotment(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> GpuAllotment:
    """HIP's variable, by either name, counts the GPUs that ROCm's leaves."""
    given = tuple(gpus)
    hip = next((name for name in HIP_VARIABLES if name in environ), "")
    named = [name for name in (ROCM_VARIABLE, hip) if name in environ]
    for name in named:
        counted = [replace(gpu, index=at) for at, gpu in enumerate(given)]
        left = {gpu.uuid for gpu in select_gpus(counted, environ[name])}
        given = tuple(gpu for gpu in given if gpu.uuid in left)
    if len(given) == len(gpus):
        return GpuAllotment(given)
    shown = " ".join(f"{name}={environ[name]}" for name in named)[:SHOWN]
    return GpuAllotment(given, _describe(len(given), len(gpus), shown))


def select_gpus(gpus: Sequence[Gpu], visible: str) -> tuple[Gpu, ...]:
    """Select the GPUs that a value of CUDA_VISIBLE_DEVICES names, in the order of `gpus`.

    As in CUDA, an entry that names no GPU (`-1`, `NoDevFiles`) hides all that follow it. The number
    of a GPU in MIG mode names its first instance, the only one that CUDA would use.
    """
    named: set[str] = set()
    for entry in visible.split(","):
        gpu = _find(gpus, entry.strip())
        if gpu is None:
            break
        named.add(gpu.uuid)
    return tuple(gpu for gpu in gpus if gpu.uuid in named)


def read_given_variables(proc: Path = PROC, parent: int | None = None) -> Mapping[str, str]:
    """Return the variables that say which GPUs this machine's work may use.

    They are this process's own, but in a Ray worker those of the raylet, its parent: Ray writes the
    numbers of each task's GPUs into the worker's. parent: a PID; None: this process's parent.
    """
    folder = proc / str(os.getppid() if parent is None else parent)
    try:
        if (folder / "comm").read_text().strip() != RAYLET:
            return os.environ
        text = os.fsdecode((folder / "environ").read_bytes())
    except OSError:
        return os.environ
    pairs = (entry.partition("=") for entry in text.split("\0"))
    return {name: value for name, _, value in pairs}


def limit_to_ray(node: Node, counted: int) -> Node:
    """Keep as many GPUs as Ray counts on the node, as with `ray start --num-gpus=1`.

    Ray numbers them in the order of the driver. Where it found them itself, it counts a GPU in MIG
    mode once, and all instances are kept.
    """
    found = len({gpu.index for gpu in node.gpus})
    if counted >= len(node.gpus) or (counted == found and node.gpus[0].is_mig_instance):
        return node
    note = _describe(counted, len(node.gpus), f"Ray counts {counted}")
    notes = ". ".join(filter(None, (node.gpu_note, note)))
    return replace(node, gpus=node.gpus[:counted], gpu_note=notes)


def _find(gpus: Sequence[Gpu], entry: str) -> Gpu | None:
    if entry.isascii() and entry.isdigit():
        return next((gpu for gpu in gpus if gpu.index == int(entry)), None)
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    matching = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
    return matching[0] if len(matching) == 1 else None


def _is_ambiguous(gpus: Sequence[Gpu], visible: str, order: str) -> bool:
    """Return True if CUDA may count GPUs of different models in another order than the driver."""
    numbered = any(entry.strip().isdigit() for entry in visible.split(","))
    return numbered and order != BY_PCI_BUS and len({gpu.name for gpu in gpus}) > 1


def _describe(count: int, total: int, why: str) -> str:
    belong = "belongs" if count == 1 else "belong"
    return f"{count or 'none'} of {total} GPUs {belong} to this allotment ({why})"
