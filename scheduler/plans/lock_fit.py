"""Fit of a lock to a node: its platform, and the CUDA that the node's driver and GPUs run. Pure."""

from collections.abc import Iterable, Sequence

from velodrome.agents.environments.accelerators import name_accelerator, rank
from velodrome.agents.node import Node
from velodrome.scheduler.sweeps.sweep import Entrant, LockRequirement


def find_best(
    locks: Iterable[LockRequirement], node: Node, build: str = ""
) -> LockRequirement | None:
    """Find the lock that the node would use; None: none serves it.

    As on the node, the first of those that fit its driver best (Recipe.locks_for). build: of the
    task, such as `cuda12`; empty: the node's driver decides.
    """
    ranks = (
        (rank(build, lock.accelerators) if build else rank_lock(lock, node), lock)
        for lock in locks
        if fits_platform(lock, node)
    )
    fitting = [(found, lock) for found, lock in ranks if found is not None]
    return min(fitting, key=lambda pair: pair[0])[1] if fitting else None


def find_common_build(entrant: Entrant, nodes: Sequence[Node]) -> str:
    """Return the newest build that the drivers and GPUs of all nodes run, such as `cuda12`.

    Nodes without GPUs, of unknown drivers, or that can run none of its locks do not count; empty
    if there are no others.
    """
    locks = [lock for lock in entrant.locked if lock.device == "gpu" and lock.accelerators]
    builds = [
        _accelerator_of(node)
        for node in nodes
        if node.gpus and node.cuda_major and any(serves(lock, node) for lock in locks)
    ]
    return min(builds, default="")


def serves(lock: LockRequirement, node: Node) -> bool:
    return fits_platform(lock, node) and rank_lock(lock, node) is not None


def fits_platform(lock: LockRequirement, node: Node) -> bool:
    return not lock.platforms or name_platform(node) in lock.platforms


def rank_lock(lock: LockRequirement, node: Node) -> int | None:
    """Return how well a lock fits the node's accelerator: 0 is best; None: it does not fit."""
    if lock.device != "gpu" or not lock.accelerators:
        return 0
    return rank(_accelerator_of(node), lock.accelerators)


def name_platform(node: Node) -> str:
    """Name the node's platform as locks do: `linux-x86_64`."""
    return f"{node.system.lower()}-{node.architecture}"


def describe_cuda(node: Node) -> str:
    """Describe the node's driver, and its GPUs where they need an older CUDA."""
    if not node.cuda_major:
        return "one of unknown version"
    newest = _accelerator_of(node).replace("cuda", "CUDA ")
    text = f"one for CUDA {node.cuda_major}"
    return text if text.endswith(newest) else f"{text} and a GPU that only {newest} supports"


def _accelerator_of(node: Node) -> str:
    """Name the node's accelerator as locks do: `cuda13`; any GPU if a working driver names none."""
    unknown = "cuda00" if node.gpu_fault else "gpu"
    return name_accelerator(node.cuda_major, node.gpus) or unknown
