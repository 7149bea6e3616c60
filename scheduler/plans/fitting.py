"""Which nodes a cell fits on; where none, the condition that failed, in words."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from velodrome.agents.node import Gpu, Node
from velodrome.scheduler.sweeps.expansion import Cell
from velodrome.scheduler.sweeps.parts import Sweep, ThreadRule, Threads


@dataclass(frozen=True, slots=True)
class Need:
    """What of a cell decides where it fits; many cells share one."""

    threads: Threads
    gpu_count: int
    gpu_model: str


class Spot(NamedTuple):
    """A part of the fleet to measure on: any node, one of a type, a node, some of its GPUs."""

    name: str
    node: Node
    gpu_uuid: str = ""


@dataclass(frozen=True)
class Fit:
    """The nodes a need fits on, or why there is none. nearest: where fewest conditions fail."""

    need: Need
    nodes: tuple[Node, ...]
    nearest: Node | None
    reason: str = ""

    @cached_property
    def by_type(self) -> dict[str, list[Node]]:
        types: dict[str, list[Node]] = {}
        for node in self.nodes:
            types.setdefault(node.node_type, []).append(node)
        return types

    @cached_property
    def by_node(self) -> list[Spot]:
        return [Spot(node.node_id, node) for node in self.nodes]

    @cached_property
    def by_gpu(self) -> list[Spot]:
        """Wanted GPUs, gpu_count at a time; what is left over on a node is too few."""
        return [spot for node in self.nodes for spot in _gpu_spots(self.need, node)]


@dataclass(frozen=True, slots=True)
class _Demand:
    """One condition: what is wanted, whether a node has it, what is said when none of them has."""

    wants: str
    is_met: Callable[[Node], bool]
    unmet: Callable[[Sequence[Node]], str]


def need_of(cell: Cell) -> Need:
    return Need(cell.threads, cell.gpu_count, cell.gpu_model)


def resolve(threads: Threads, node: Node) -> int:
    """The number of threads that is meant on this node."""
    if threads is ThreadRule.PHYSICAL:
        return node.physical
    if threads is ThreadRule.LOGICAL:
        return node.logical
    return int(threads)


def lacks(need: Need, sweep: Sweep, node: Node) -> tuple[str, ...]:
    """Every condition that fails on this node, in words; none: it fits."""
    failed = [demand for demand in _demands(need, sweep) if not demand.is_met(node)]
    return tuple(f"needs {demand.wants}, {demand.unmet((node,))}" for demand in failed)


class Fleet:
    """The nodes, alike ones grouped, so that a need is checked once per kind and not per node."""

    def __init__(self, nodes: Sequence[Node], sweep: Sweep) -> None:
        self._sweep = sweep
        self._fits: dict[Need, Fit] = {}
        self._alike: dict[object, list[Node]] = {}
        for node in sorted(nodes, key=lambda node: (node.hostname, node.node_id)):
            self._alike.setdefault(self._kind(node), []).append(node)

    def fit(self, need: Need) -> Fit:
        if need not in self._fits:
            self._fits[need] = self._find(need)
        return self._fits[need]

    def _kind(self, node: Node) -> object:
        gpus = tuple(gpu.name for gpu in node.gpus)
        labels = tuple(dict(node.labels).get(key) for key, _ in self._sweep.labels)
        return (node.node_type, node.physical, node.logical, node.ram_bytes, gpus, labels)

    def _find(self, need: Need) -> Fit:
        demands = _demands(need, self._sweep)
        examples = [nodes[0] for nodes in self._alike.values()]
        missing = [[d for d in demands if not d.is_met(node)] for node in examples]
        fitting = [
            node
            for nodes, unmet in zip(self._alike.values(), missing, strict=True)
            if not unmet
            for node in nodes
        ]
        if fitting:
            return Fit(need, tuple(fitting), fitting[0])
        if not examples:
            return Fit(need, (), None, "there is no node")
        nearest = min(
            zip(examples, missing, strict=True),
            key=lambda pair: (len(pair[1]), -pair[0].physical),
        )
        return Fit(need, (), nearest[0], _reason(demands, examples, nearest))


def _gpus_of(node: Node, model: str) -> list[Gpu]:
    return [gpu for gpu in node.gpus if model.lower() in gpu.name.lower()]


def _gpu_spots(need: Need, node: Node) -> Iterator[Spot]:
    wanted = _gpus_of(node, need.gpu_model)
    for first in range(0, len(wanted) - need.gpu_count + 1, need.gpu_count):
        uuids = ",".join(gpu.uuid for gpu in wanted[first : first + need.gpu_count])
        yield Spot(f"{node.node_id}/{uuids}", node, uuids)


def _reason(
    demands: Sequence[_Demand], examples: Sequence[Node], nearest: tuple[Node, list[_Demand]]
) -> str:
    hopeless = [d for d in demands if not any(d.is_met(node) for node in examples)]
    if hopeless:
        return "; ".join(f"needs {demand.wants}, {demand.unmet(examples)}" for demand in hopeless)
    node, unmet = nearest
    wanted = " and ".join(demand.wants for demand in demands)
    both = "both" if len(demands) == 2 else "all"
    return f"needs {wanted}, no node has {both}; {node.hostname} lacks {unmet[0].wants}"


def _demands(need: Need, sweep: Sweep) -> tuple[_Demand, ...]:
    demands = [_labels(*label) for label in sweep.labels]
    if not isinstance(need.threads, ThreadRule):
        demands.append(_cores(need.threads))
    if need.gpu_count:
        demands.append(_gpus(need.gpu_count, need.gpu_model))
    if sweep.limits.memory_bytes:
        demands.append(_memory(sweep.limits.memory_bytes))
    return tuple(demands)


def _cores(threads: int) -> _Demand:
    def unmet(nodes: Sequence[Node]) -> str:
        largest = max(nodes, key=lambda node: (node.physical, node.logical))
        text = f"the largest node has {_count(largest.physical, 'core')}"
        if largest.logical >= threads:
            text += f" ({largest.logical} SMT threads: ask for `logical` to use them)"
        return text

    return _Demand(_count(threads, "thread"), lambda node: threads <= node.physical, unmet)


def _gpus(count: int, model: str) -> _Demand:
    def those_of(node: Node) -> int:
        return len(_gpus_of(node, model))

    def unmet(nodes: Sequence[Node]) -> str:
        names = sorted({gpu.name for node in nodes for gpu in node.gpus})
        most = max(those_of(node) for node in nodes)
        if most:
            return f"no node has more than {most}"
        return f"the nodes have {', '.join(names)}" if names else "no node has one"

    wants = _count(count, "GPU") + (f" of model {model}" if model else "")
    return _Demand(wants, lambda node: those_of(node) >= count, unmet)


def _memory(size_bytes: int) -> _Demand:
    def unmet(nodes: Sequence[Node]) -> str:
        return f"the largest node has {_gib(max(node.ram_bytes for node in nodes))}"

    wants = f"{_gib(size_bytes)} of memory"
    return _Demand(wants, lambda node: size_bytes <= node.ram_bytes, unmet)


def _labels(key: str, value: str) -> _Demand:
    def unmet(nodes: Sequence[Node]) -> str:
        there = sorted({dict(node.labels)[key] for node in nodes if key in dict(node.labels)})
        return f"the nodes have {key}={', '.join(there)}" if there else "no node has it"

    return _Demand(f"the label {key}={value}", lambda node: (key, value) in node.labels, unmet)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
