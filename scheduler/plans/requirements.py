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

    nobody: describes several nodes none of which meets it.
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
    return tuple(_demands(need, sweep))


def matching_gpus(node: Node, model: str, count: int) -> list[Gpu]:
    """List the GPUs with this model name (empty: any) that a task with so many GPUs can use."""
    return [
        gpu for gpu in node.gpus if gpu.matches(model) and (count <= 1 or not gpu.is_mig_instance)
    ]


def _demands(need: CellRequirements, sweep: Sweep) -> Iterator[Requirement]:
    for label in sweep.labels:
        yield _label(*label)
    if not isinstance(need.threads, ThreadRule):
        yield _cores(need.threads)
    if need.gpu_count:
        yield _gpus(need.gpu_count, need.gpu_model)
    if sweep.limits.memory_bytes:
        yield _memory(sweep.limits.memory_bytes)
    if sweep.limits.disk_bytes:
        yield _disk(sweep.limits.disk_bytes, "of disk")
    if locks := _locks(need, sweep):
        yield from _of_locks(need, locks, sweep.limits.disk_bytes)


def _locks(need: CellRequirements, sweep: Sweep) -> tuple[LockRequirement, ...]:
    entrants = (one for one in sweep.entrants if one.framework == need.framework)
    found = (locked for one in entrants for locked in one.locked if locked.device == need.device)
    return tuple(found)


def find_lock(need: CellRequirements, sweep: Sweep, node: Node) -> str:
    """Return the lock file for the request's environment on this node; empty: none is known."""
    return next((lock.file for lock in _locks(need, sweep) if _serves(lock, node)), "")


def _of_locks(
    need: CellRequirements, locks: tuple[LockRequirement, ...], asked_bytes: int
) -> Iterator[Requirement]:
    """Require a lock for the platform, one for the driver, and disk for the smallest."""
    if all(lock.platforms for lock in locks):
        yield _platform(need.framework, locks)
    if need.device == "gpu" and all(lock.accelerators for lock in locks):
        yield _driver(need.framework, locks)
    if min(lock.size_bytes for lock in locks) > asked_bytes:
        yield _room(need.framework, locks)


def _cores(threads: int) -> Requirement:
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


def _gpus(count: int, model: str) -> Requirement:
    def those_of(node: Node) -> int:
        return len(matching_gpus(node, model, count))

    def has(node: Node) -> str:
        fault = f" ({node.gpu_fault})" if node.gpu_fault else ""
        if those_of(node) or not node.gpus:
            return f"{those_of(node) or 'none'}{fault}"
        return ", ".join(sorted({gpu.name for gpu in node.gpus})) + fault

    def describe_all(nodes: Sequence[Node]) -> str:
        names = sorted({gpu.name for node in nodes for gpu in node.gpus})
        most = max(those_of(node) for node in nodes)
        faults = "".join(f"; {one.hostname}: {one.gpu_fault}" for one in nodes if one.gpu_fault)
        if most:
            return f"no node has more than {most}{faults}"
        return (f"the nodes have {', '.join(names)}" if names else "no node has one") + faults

    wants = _count(count, "GPU") + (f" of model {model}" if model else "")
    return Requirement(wants, lambda node: those_of(node) >= count, has, describe_all)


def _memory(size_bytes: int) -> Requirement:
    def has(node: Node) -> str:
        return _gib(node.ram_bytes) if node.ram_bytes else "none declared"

    def describe_all(nodes: Sequence[Node]) -> str:
        return f"the largest node has {has(max(nodes, key=lambda node: node.ram_bytes))}"

    wants = f"{_gib(size_bytes)} of memory"
    return Requirement(wants, lambda node: size_bytes <= node.ram_bytes, has, describe_all)


def _disk(size_bytes: int, what: str) -> Requirement:
    """Require free disk. Unknown counts as enough: a build would report the shortage."""

    def is_met(node: Node) -> bool:
        return not node.free_disk_bytes or size_bytes <= node.free_disk_bytes

    def has(node: Node) -> str:
        return _gib(node.free_disk_bytes)

    def describe_all(nodes: Sequence[Node]) -> str:
        return f"the node with most has {has(max(nodes, key=lambda node: node.free_disk_bytes))}"

    return Requirement(f"{_gib(size_bytes)} {what}", is_met, has, describe_all)


def _room(framework: str, locks: tuple[LockRequirement, ...]) -> Requirement:
    """Require disk for the smallest lock that serves a node, where its free disk is known."""

    def needs(node: Node) -> int:
        sizes = [lock.size_bytes for lock in locks if _serves(lock, node)]
        return min(sizes or [lock.size_bytes for lock in locks])

    def is_met(node: Node) -> bool:
        return not node.free_disk_bytes or needs(node) <= node.free_disk_bytes

    def has(node: Node) -> str:
        more = f" of the {_gib(needs(node))} that its lock takes" * (needs(node) != least)
        return _gib(node.free_disk_bytes) + more

    least = min(lock.size_bytes for lock in locks)
    plain = _disk(least, f"of disk for {framework}")
    return replace(plain, is_met=is_met, has=has)


def disk_sizes(sweep: Sweep) -> list[int]:
    """List all disk sizes that the sweep may require, ascending, to group equal nodes by them."""
    sizes = (locked.size_bytes for entrant in sweep.entrants for locked in entrant.locked)
    return sorted({sweep.limits.disk_bytes, *sizes})


def _label(key: str, value: str) -> Requirement:
    def has(node: Node) -> str:
        there = dict(node.labels).get(key)
        return "no such label" if there is None else f"{key}={there}"

    def describe_all(nodes: Sequence[Node]) -> str:
        there = sorted({dict(node.labels)[key] for node in nodes if key in dict(node.labels)})
        return f"the nodes have {key}={', '.join(there)}" if there else "no node has it"

    wants = f"the label {key}={value}"
    return Requirement(wants, lambda node: (key, value) in node.labels, has, describe_all)


def _platform(framework: str, locks: tuple[LockRequirement, ...]) -> Requirement:
    def describe_all(nodes: Sequence[Node]) -> str:
        return f"the nodes are {', '.join(sorted(set(map(_platform_of, nodes))))}"

    platforms = tuple(dict.fromkeys(name for lock in locks for name in lock.platforms))
    wants = f"{' or '.join(platforms)}, which {framework} is locked for"
    return Requirement(
        wants, lambda node: _platform_of(node) in platforms, _platform_of, describe_all
    )


def _driver(framework: str, locks: tuple[LockRequirement, ...]) -> Requirement:
    """Require a driver. A node without GPUs passes: their absence is reported already."""

    def is_met(node: Node) -> bool:
        if not node.gpus:
            return True
        there = [lock for lock in locks if _is_of(lock, node)] or locks
        return any(rank(_accelerator(node), lock.accelerators) is not None for lock in there)

    def describe_all(nodes: Sequence[Node]) -> str:
        told = sorted({_cuda_of(node) for node in nodes if node.gpus})
        return f"the nodes have {', '.join(told)}" if told else "no node has one"

    served = dict.fromkeys(name for lock in locks for name in lock.accelerators if name != "cpu")
    names = " or ".join(name.replace("cuda", "CUDA ") for name in sorted(served))
    wants = f"a driver for {names} or newer, which {framework} is locked for"
    return Requirement(wants, is_met, _cuda_of, describe_all)


def _cuda_of(node: Node) -> str:
    return f"one for CUDA {node.cuda_major}" if node.cuda_major else "one that does not say"


def _accelerator(node: Node) -> str:
    """Name the node's accelerator as locks do: `cuda13`; any GPU if a working driver names none."""
    if node.cuda_major:
        return f"cuda{node.cuda_major}"
    return "cuda00" if node.gpu_fault else "gpu"


def _is_of(lock: LockRequirement, node: Node) -> bool:
    return not lock.platforms or _platform_of(node) in lock.platforms


def _serves(lock: LockRequirement, node: Node) -> bool:
    if not _is_of(lock, node):
        return False
    if lock.device != "gpu" or not lock.accelerators:
        return True
    return rank(_accelerator(node), lock.accelerators) is not None


def _platform_of(node: Node) -> str:
    """Name the node's platform as locks do: `linux-x86_64`."""
    return f"{node.system.lower()}-{node.architecture}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
