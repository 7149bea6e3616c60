"""Requirements of a cell on a node, each a condition with its messages. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from velodrome.agents.gpu_models import group_by_model, select_gpus
from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.scheduler.plans.build_requirements import (
    require_capability,
    require_driver,
    require_maker,
    require_platform,
)
from velodrome.scheduler.plans.lock_fit import find_best, serves
from velodrome.scheduler.plans.requirement import CellRequirements, Requirement
from velodrome.scheduler.sweeps.sweep import LockRequirement, Sweep, ThreadRule


def list_requirements(need: CellRequirements, sweep: Sweep) -> tuple[Requirement, ...]:
    """List the requirements of a request in a sweep."""
    return tuple(_list_demands(need, sweep))


def _list_demands(need: CellRequirements, sweep: Sweep) -> Iterator[Requirement]:
    for label in sweep.labels:
        yield _require_label(*label)
    if not isinstance(need.threads, ThreadRule):
        each = f" for {need.devices_text} of {need.threads}" if need.devices > 1 else ""
        yield _require_cores(need.threads * need.devices, each)
    elif need.devices > 1:  # the cores, or their SMT threads, are divided among them
        cores = _require_cores(need.devices, f" for {need.devices_text}")
        if need.threads is ThreadRule.LOGICAL:
            cores = replace(cores, is_met=lambda node: need.devices <= node.logical)
        yield cores
    if need.gpu_count:
        yield _require_gpus(need.gpu_count, need.gpu_model)
    if sweep.limits.memory_bytes:
        yield _require_memory(sweep.limits.memory_bytes)
    if sweep.limits.disk_bytes:
        yield _require_disk(sweep.limits.disk_bytes, "of disk")
    if locks := _select_locks(need, sweep):
        yield from _require_locks(need, locks, sweep.limits.disk_bytes)


def _select_locks(need: CellRequirements, sweep: Sweep) -> tuple[LockRequirement, ...]:
    entrants = (each for each in sweep.entrants if each.framework == need.framework)
    found = (locked for each in entrants for locked in each.locked if locked.device == need.device)
    return tuple(found)


def find_lock(need: CellRequirements, sweep: Sweep, node: Node) -> str:
    """Return the lock file for the request's environment on this node; empty: none is known."""
    best = find_best(_select_locks(need, sweep), node, need.build)
    return best.file if best else ""


def _require_locks(
    need: CellRequirements, locks: tuple[LockRequirement, ...], limit_bytes: int
) -> Iterator[Requirement]:
    """Require a lock for the platform, one for the driver, and disk for the smallest."""
    if all(lock.platforms for lock in locks):
        yield require_platform(need.framework, locks)
    if need.device == "gpu" and all(lock.accelerators for lock in locks):
        yield require_maker(need.framework, locks)
        yield require_driver(need.framework, locks)
    if need.device == "gpu" and any(lock.capability for lock in locks):
        yield require_capability(need, locks)
    if min(lock.size_bytes for lock in locks) > limit_bytes:
        yield _require_lock_disk(need.framework, locks)


def _require_cores(threads: int, purpose: str) -> Requirement:
    def has(node: Node) -> str:
        text = _count(node.physical, "core")
        if node.logical >= threads:
            text += f" ({node.logical} SMT threads: ask for `logical` to use them)"
        return text

    def describe_all(nodes: Sequence[Node]) -> str:
        largest = max(nodes, key=lambda node: (node.physical, node.logical))
        return f"the largest node has {has(largest)}"

    return Requirement(
        _count(threads, "thread") + purpose,
        lambda node: threads <= node.physical,
        has,
        describe_all,
    )


def _require_gpus(count: int, model: str) -> Requirement:
    def count_matching(node: Node) -> int:
        return len(select_gpus(node.gpus, model, count))

    def has(node: Node) -> str:
        fault = f" ({node.gpu_remarks})" if node.gpu_remarks else ""
        if count_matching(node) or not node.gpus:
            mixed = " of one model" if len(group_by_model(node.gpus, model, count)) > 1 else ""
            return f"{count_matching(node) or 'none'}{mixed}{fault}"
        return ", ".join(sorted({gpu.name for gpu in node.gpus})) + fault

    def describe_all(nodes: Sequence[Node]) -> str:
        names = sorted({gpu.name for node in nodes for gpu in node.gpus})
        most = max(count_matching(node) for node in nodes)
        faults = "".join(
            f"; {node.hostname}: {node.gpu_remarks}" for node in nodes if node.gpu_remarks
        )
        if most:
            mixed = any(len(group_by_model(node.gpus, model, count)) > 1 for node in nodes)
            return f"no node has more than {most}{' of one model' if mixed else ''}{faults}"
        return (f"the nodes have {', '.join(names)}" if names else "no node has one") + faults

    wants = _count(count, "GPU") + (f" of model {model}" if model else "")
    return Requirement(
        wants, lambda node: count_matching(node) >= count, has, describe_all, _choose_gpu_status
    )


def _choose_gpu_status(nodes: Sequence[Node]) -> Status:
    """Other makers' accelerators are no lack of the fleet, if there are no usable GPUs at all."""
    foreign = any(node.has_only_foreign_accelerators for node in nodes)
    usable = any(node.gpus or node.gpu_fault or node.gpu_note for node in nodes)
    return Status.UNSUPPORTED if foreign and not usable else Status.UNPLACEABLE


def _require_memory(size_bytes: int) -> Requirement:
    def has(node: Node) -> str:
        return _to_gib(node.ram_bytes) if node.ram_bytes else "none declared"

    def describe_all(nodes: Sequence[Node]) -> str:
        return f"the largest node has {has(max(nodes, key=lambda node: node.ram_bytes))}"

    wants = f"{_to_gib(size_bytes)} of memory"
    return Requirement(wants, lambda node: size_bytes <= node.ram_bytes, has, describe_all)


def _require_disk(size_bytes: int, what: str) -> Requirement:
    """Require free disk. Unknown counts as enough: a build would report the shortage."""

    def is_met(node: Node) -> bool:
        return not node.free_disk_bytes or size_bytes <= node.free_disk_bytes

    def has(node: Node) -> str:
        return _to_gib(node.free_disk_bytes)

    def describe_all(nodes: Sequence[Node]) -> str:
        return f"the node with most has {has(max(nodes, key=lambda node: node.free_disk_bytes))}"

    return Requirement(f"{_to_gib(size_bytes)} {what}", is_met, has, describe_all)


def _require_lock_disk(framework: str, locks: tuple[LockRequirement, ...]) -> Requirement:
    """Require disk for the smallest lock that serves a node, where its free disk is known."""

    def needs(node: Node) -> int:
        sizes = [lock.size_bytes for lock in locks if serves(lock, node)]
        return min(sizes or [lock.size_bytes for lock in locks])

    def is_met(node: Node) -> bool:
        return not node.free_disk_bytes or needs(node) <= node.free_disk_bytes

    def has(node: Node) -> str:
        more = f" of the {_to_gib(needs(node))} that its lock takes" * (needs(node) != least)
        return _to_gib(node.free_disk_bytes) + more

    least = min(lock.size_bytes for lock in locks)
    plain = _require_disk(least, f"of disk for {framework}")
    return replace(plain, is_met=is_met, has=has)


def list_disk_sizes(sweep: Sweep) -> list[int]:
    """List all disk sizes that the sweep may require, ascending, to group equal nodes by them."""
    sizes = (locked.size_bytes for entrant in sweep.entrants for locked in entrant.locked)
    return sorted({sweep.limits.disk_bytes, *sizes})


def _require_label(key: str, value: str) -> Requirement:
    def has(node: Node) -> str:
        found = dict(node.labels).get(key)
        return "no such label" if found is None else f"{key}={found}"

    def describe_all(nodes: Sequence[Node]) -> str:
        found = sorted({dict(node.labels)[key] for node in nodes if key in dict(node.labels)})
        return f"the nodes have {key}={', '.join(found)}" if found else "no node has it"

    wants = f"the label {key}={value}"
    return Requirement(wants, lambda node: (key, value) in node.labels, has, describe_all)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _to_gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
