"""What a cell asks of a node, one condition at a time, each with the words for it. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from velodrome.agents.node import Gpu, Node
from velodrome.scheduler.sweeps.parts import Locked, Sweep, ThreadRule, Threads

Text = Callable[[Node], str]


@dataclass(frozen=True, slots=True)
class Need:
    """What of a cell decides where it fits; many cells share one.

    framework: that of which an environment must be had there; empty: none.
    """

    threads: Threads
    gpu_count: int
    gpu_model: str
    framework: str = ""
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Demand:
    """One condition: what is wanted, whether a node has it, what it has in place of it.

    nobody: what is said when none of several nodes has it.
    """

    wants: str
    is_met: Callable[[Node], bool]
    has: Text
    nobody: Callable[[Sequence[Node]], str]

    def unmet(self, node: Node) -> str:
        """E.g. `needs 8 threads, has 4 cores`."""
        return f"needs {self.wants}, has {self.has(node)}"

    def unmet_by_all(self, nodes: Sequence[Node]) -> str:
        return f"needs {self.wants}, {self.nobody(nodes)}"


def demands_of(need: Need, sweep: Sweep) -> tuple[Demand, ...]:
    return tuple(_demands(need, sweep))


def gpus_called(node: Node, model: str, count: int) -> list[Gpu]:
    """Those with these words in their name (empty: all) that a task of so many can have."""
    return [gpu for gpu in node.gpus if gpu.is_called(model) and (count <= 1 or not gpu.is_part)]


def _demands(need: Need, sweep: Sweep) -> Iterator[Demand]:
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
    for locked in _locked(need, sweep):
        if locked.platforms:
            yield _platform(need.framework, locked)
        if locked.size_bytes > sweep.limits.disk_bytes:
            yield _disk(locked.size_bytes, f"of disk for {need.framework}")


def _locked(need: Need, sweep: Sweep) -> Iterable[Locked]:
    entrants = (one for one in sweep.entrants if one.framework == need.framework)
    return (locked for one in entrants for locked in one.locked if locked.device == need.device)


def _cores(threads: int) -> Demand:
    def has(node: Node) -> str:
        text = _count(node.physical, "core")
        if node.logical >= threads:
            text += f" ({node.logical} SMT threads: ask for `logical` to use them)"
        return text

    def nobody(nodes: Sequence[Node]) -> str:
        largest = max(nodes, key=lambda node: (node.physical, node.logical))
        return f"the largest node has {has(largest)}"

    return Demand(_count(threads, "thread"), lambda node: threads <= node.physical, has, nobody)


def _gpus(count: int, model: str) -> Demand:
    def those_of(node: Node) -> int:
        return len(gpus_called(node, model, count))

    def has(node: Node) -> str:
        fault = f" ({node.gpu_fault})" if node.gpu_fault else ""
        if those_of(node) or not node.gpus:
            return f"{those_of(node) or 'none'}{fault}"
        return ", ".join(sorted({gpu.name for gpu in node.gpus})) + fault

    def nobody(nodes: Sequence[Node]) -> str:
        names = sorted({gpu.name for node in nodes for gpu in node.gpus})
        most = max(those_of(node) for node in nodes)
        faults = "".join(f"; {one.hostname}: {one.gpu_fault}" for one in nodes if one.gpu_fault)
        if most:
            return f"no node has more than {most}{faults}"
        return (f"the nodes have {', '.join(names)}" if names else "no node has one") + faults

    wants = _count(count, "GPU") + (f" of model {model}" if model else "")
    return Demand(wants, lambda node: those_of(node) >= count, has, nobody)


def _memory(size_bytes: int) -> Demand:
    def has(node: Node) -> str:
        return _gib(node.ram_bytes) if node.ram_bytes else "none declared"

    def nobody(nodes: Sequence[Node]) -> str:
        return f"the largest node has {has(max(nodes, key=lambda node: node.ram_bytes))}"

    wants = f"{_gib(size_bytes)} of memory"
    return Demand(wants, lambda node: size_bytes <= node.ram_bytes, has, nobody)


def _disk(size_bytes: int, what: str) -> Demand:
    """Where the room is not known, there is enough: a build says the rest."""

    def is_met(node: Node) -> bool:
        return not node.free_disk_bytes or size_bytes <= node.free_disk_bytes

    def has(node: Node) -> str:
        return _gib(node.free_disk_bytes)

    def nobody(nodes: Sequence[Node]) -> str:
        return f"the node with most has {has(max(nodes, key=lambda node: node.free_disk_bytes))}"

    return Demand(f"{_gib(size_bytes)} {what}", is_met, has, nobody)


def disk_sizes(sweep: Sweep) -> list[int]:
    """Ascending: all that a need of the sweep may ask for, to tell by it which nodes are alike."""
    sizes = (locked.size_bytes for entrant in sweep.entrants for locked in entrant.locked)
    return sorted({sweep.limits.disk_bytes, *sizes})


def _label(key: str, value: str) -> Demand:
    def has(node: Node) -> str:
        there = dict(node.labels).get(key)
        return "no such label" if there is None else f"{key}={there}"

    def nobody(nodes: Sequence[Node]) -> str:
        there = sorted({dict(node.labels)[key] for node in nodes if key in dict(node.labels)})
        return f"the nodes have {key}={', '.join(there)}" if there else "no node has it"

    wants = f"the label {key}={value}"
    return Demand(wants, lambda node: (key, value) in node.labels, has, nobody)


def _platform(framework: str, locked: Locked) -> Demand:
    def nobody(nodes: Sequence[Node]) -> str:
        return f"the nodes are {', '.join(sorted(set(map(_platform_of, nodes))))}"

    wants = f"{' or '.join(locked.platforms)}, which {framework} is locked for"
    is_met = frozenset(locked.platforms)
    return Demand(wants, lambda node: _platform_of(node) in is_met, _platform_of, nobody)


def _platform_of(node: Node) -> str:
    """As locks name it: `linux-x86_64`."""
    return f"{node.system.lower()}-{node.architecture}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
