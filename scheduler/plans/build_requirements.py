"""Requirements of a framework's builds on a node: its platform, its driver, its GPUs. Pure."""

from collections.abc import Sequence

from velodrome.agents.environments.accelerators import ROCM, lowest_capability, parse_capability
from velodrome.agents.environments.recipes import variable_for
from velodrome.agents.environments.versions import split
from velodrome.agents.gpu_models import select_gpus
from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.scheduler.plans.lock_fit import (
    describe_cuda,
    find_best,
    fits_platform,
    name_platform,
    rank_lock,
)
from velodrome.scheduler.plans.requirement import CellRequirements, Requirement
from velodrome.scheduler.sweeps.sweep import LockRequirement


def require_platform(framework: str, locks: tuple[LockRequirement, ...]) -> Requirement:
    """Require a platform that a lock is for."""

    def describe_all(nodes: Sequence[Node]) -> str:
        return f"the nodes are {', '.join(sorted(set(map(name_platform, nodes))))}"

    platforms = tuple(dict.fromkeys(name for lock in locks for name in lock.platforms))
    wants = f"{' or '.join(platforms)}, which {framework} is locked for"
    return Requirement(
        wants, lambda node: name_platform(node) in platforms, name_platform, describe_all
    )


def require_maker(framework: str, locks: tuple[LockRequirement, ...]) -> Requirement:
    """Require NVIDIA's GPUs, unless a lock is for ROCm. A node without GPUs passes."""
    served = any(ROCM in lock.accelerators for lock in locks)
    variable = variable_for(split(framework)[0])
    text = f"AMD's (set {variable} to an interpreter with {framework} for ROCm)"

    def is_met(node: Node) -> bool:
        return served or not _has_amd(node)

    return Requirement(
        f"GPUs of NVIDIA, which {framework} is locked for",
        is_met,
        lambda node: text,
        lambda nodes: f"the nodes have {text}",
        lambda nodes: Status.UNSUPPORTED,
    )


def _has_amd(node: Node) -> bool:
    return any(gpu.is_amd for gpu in node.gpus)


def require_driver(framework: str, locks: tuple[LockRequirement, ...]) -> Requirement:
    """Require a driver. A node without GPUs passes: their absence is reported already."""

    def is_met(node: Node) -> bool:
        if not node.gpus or _has_amd(node):
            return True
        usable = [lock for lock in locks if fits_platform(lock, node)] or locks
        return any(rank_lock(lock, node) is not None for lock in usable)

    def has(node: Node) -> str:
        own = _oldest_cuda([lock for lock in locks if fits_platform(lock, node)] or locks)
        where = f" (on {name_platform(node)} its oldest build is for {own})" * (own != oldest)
        return describe_cuda(node) + where

    def describe_all(nodes: Sequence[Node]) -> str:
        names = sorted({has(node) for node in nodes if not is_met(node)})
        return f"the nodes have {', '.join(names)}" if names else "no node has one"

    oldest = _oldest_cuda(locks)
    wants = f"a driver for {oldest} or newer, which {framework} is locked for"
    return Requirement(wants, is_met, has, describe_all)


def _oldest_cuda(locks: Sequence[LockRequirement]) -> str:
    names = [name for lock in locks for name in lock.accelerators if name != "cpu"]
    return min(names).replace("cuda", "CUDA ")


def require_capability(need: CellRequirements, locks: tuple[LockRequirement, ...]) -> Requirement:
    """Require kernels for the task's GPUs in the node's build; an unknown capability is tried."""

    def capability(node: Node) -> tuple[int, ...]:
        return lowest_capability(select_gpus(node.gpus, need.gpu_model, need.gpu_count))

    def is_met(node: Node) -> bool:
        best, own = find_best(locks, node, need.build), capability(node)
        return best is None or not own or parse_capability(best.capability) <= own

    def has(node: Node) -> str:
        best = find_best(locks, node, need.build)
        text = ".".join(map(str, capability(node))) or "none stated"
        if best is None or best.capability == least:
            return text
        return f"{text} (its build, {best.file}, has kernels from {best.capability} on)"

    def describe_all(nodes: Sequence[Node]) -> str:
        return f"the nodes have {', '.join(sorted({has(node) for node in nodes if node.gpus}))}"

    least = min((lock.capability for lock in locks if lock.capability), key=parse_capability)
    wants = f"compute capability {least} or newer, which {need.framework} has kernels for"
    return Requirement(wants, is_met, has, describe_all)
