"""Requirements of a cell on a node, each a condition with its messages. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from velodrome.agents.environments.accelerators import rank
from velodrome.agents.node import Gpu, Node
from velodrome.scheduler.sweeps.sweep import LockRequirement, Sweep, ThreadRule, Threads

Text = Callable[[Node], str]


@dataclass(frozen=True, slots=True)
class CellRequirements:
    """The fields of a cell that decide where it can run; many cells share one.

    framework: its environment must be available there; empty: none is needed.
    """

    threads: Threads
    gpu_count: int
    gpu_model: str
    framework: str = ""
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition on a node, with texts for what is wanted and what a node has.

    describe_all: describes several nodes none of which meets it.
    """

    wants: str
    is_met: Callable[[Node], bool]
    has: Text
    describe_all: Callable[[Sequence[Node]], str]

    def unmet(self, node: Node) -> str:
        """Describe a failure, e.g. `needs 8 threads, has 4 cores`."""
        return f"needs {self.wants}, has {self.has(node)}"

    def unmet_by_all(self, nodes: Sequence[Node]) -> str:
        return f"needs {self.wants}, {self.describe_all(nodes)}"


def list_requirements(need: CellRequirements, sweep: Sweep) -> tuple[Requirement, ...]:
    """List the requirements of a request in a sweep."""
    return tuple(_list_demands(need, sweep))


def find_matching_gpus(node: Node, model: str, count: int) -> list[Gpu]:
    """List the GPUs with this model name (empty: any) that a task with so many GPUs can use."""
    return [
        gpu for gpu in node.gpus if gpu.matches(model) and (count <= 1 or not gpu.is_mig_instance)
    ]


def _list_demands(need: CellRequirements, sweep: Sweep) -> Iterator[Requirement]:
    for label in sweep.labels:
        yield _require_label(*label)
    if not isinstance(need.threads, ThreadRule):
        yield _require_cores(need.threads)
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
    return next((lock.file for lock in _select_locks(need, sweep) if _serves(lock, node)), "")


def _require_locks(
    need: CellRequirements, locks: tuple[LockRequirement, ...], limit_bytes: int
) -> Iterator[Requirement]:
    """Require a lock for the platform, one for the driver, and disk for the smallest."""
    if all(lock.platforms for lock in locks):
        yield _require_platform(need.framework, locks)
    if need.device == "gpu" and all(lock.accelerators for lock in locks):
        yield _require_driver(need.framework, locks)
    if min(lock.size_bytes for lock in locks) > limit_bytes:
        yield _require_lock_disk(need.framework, locks)


def _require_cores(threads: int) -> Requirement:
    def has(node: Node) -> str:
        text = _count(node.physical, "core")
        if node.logical >= threads:
            text += f" ({node.logical} SMT threads: ask for `logical` to use them)"
        return text

    def describe_all(nodes: Sequence[Node]) -> str:
        largest = max(nodes, key=lambda node: (node.physical, node.logical))
        return f"the largest node has {has(largest)}"

    return Requirement(
        _count(threads, "thread"), lambda node: threads <= node.physical, has, describe_all
    )


def _require_gpus(count: int, model: str) -> Requirement:
    def count_matching(node: Node) -> int:
        return len(find_matching_gpus(node, model, count))

    def has(node: Node) -> str:
        fault = f" ({node.gpu_fault})" if node.gpu_fault else ""
        if count_matching(node) or not node.gpus:
            return f"{count_matching(node) or 'none'}{fault}"
        return ", ".join(sorted({gpu.name for gpu in node.gpus})) + fault

    def describe_all(nodes: Sequence[Node]) -> str:
        names = sorted({gpu.name for node in nodes for gpu in node.gpus})
        most = max(count_matching(node) for node in nodes)
        faults = "".join(f"; {node.hostname}: {node.gpu_fault}" for node in nodes if node.gpu_fault)
        if most:
            return f"no node has more than {most}{faults}"
        return (f"the nodes have {', '.join(names)}" if names else "no node has one") + faults

    wants = _count(count, "GPU") + (f" of model {model}" if model else "")
    return Requirement(wants, lambda node: count_matching(node) >= count, has, describe_all)


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
        sizes = [lock.size_bytes for lock in locks if _serves(lock, node)]
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


def _require_platform(framework: str, locks: tuple[LockRequirement, ...]) -> Requirement:
    def describe_all(nodes: Sequence[Node]) -> str:
        return f"the nodes are {', '.join(sorted(set(map(_name_platform, nodes))))}"

    platforms = tuple(dict.fromkeys(name for lock in locks for name in lock.platforms))
    wants = f"{' or '.join(platforms)}, which {framework} is locked for"
    return Requirement(
        wants, lambda node: _name_platform(node) in platforms, _name_platform, describe_all
    )


def _require_driver(framework: str, locks: tuple[LockRequirement, ...]) -> Requirement:
    """Require a driver. A node without GPUs passes: their absence is reported already."""

    def is_met(node: Node) -> bool:
        if not node.gpus:
            return True
        usable = [lock for lock in locks if _fits_platform(lock, node)] or locks
        return any(rank(_accelerator_of(node), lock.accelerators) is not None for lock in usable)

    def describe_all(nodes: Sequence[Node]) -> str:
        names = sorted({_describe_cuda(node) for node in nodes if node.gpus})
        return f"the nodes have {', '.join(names)}" if names else "no node has one"

    served = dict.fromkeys(name for lock in locks for name in lock.accelerators if name != "cpu")
    names = " or ".join(name.replace("cuda", "CUDA ") for name in sorted(served))
    wants = f"a driver for {names} or newer, which {framework} is locked for"
    return Requirement(wants, is_met, _describe_cuda, describe_all)


def _describe_cuda(node: Node) -> str:
    return f"one for CUDA {node.cuda_major}" if node.cuda_major else "one of unknown version"


def _accelerator_of(node: Node) -> str:
    """Name the node's accelerator as locks do: `cuda13`; any GPU if a working driver names none."""
    if node.cuda_major:
        return f"cuda{node.cuda_major}"
    return "cuda00" if node.gpu_fault else "gpu"


def _fits_platform(lock: LockRequirement, node: Node) -> bool:
    return not lock.platforms or _name_platform(node) in lock.platforms


def _serves(lock: LockRequirement, node: Node) -> bool:
    if not _fits_platform(lock, node):
        return False
    if lock.device != "gpu" or not lock.accelerators:
        return True
    return rank(_accelerator_of(node), lock.accelerators) is not None


def _name_platform(node: Node) -> str:
    """Name the node's platform as locks do: `linux-x86_64`."""
    return f"{node.system.lower()}-{node.architecture}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _to_gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
