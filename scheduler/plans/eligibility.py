"""Nodes on which a cell can run, or the condition that fails everywhere."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from velodrome.agents.gpu_models import group_by_model
from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.agents.task import Task
from velodrome.scheduler.plans.requirement import CellRequirements, Requirement
from velodrome.scheduler.plans.requirements import list_disk_sizes, list_requirements
from velodrome.scheduler.sweeps.expansion import CellSpec
from velodrome.scheduler.sweeps.sweep import Sweep, ThreadRule, Threads


class Spot(NamedTuple):
    """A part of the fleet to measure on: any node, one of a type, a node, some of its GPUs, a pair.

    partner: the node_id of the other node of a pair.
    """

    name: str
    node: Node
    gpu_uuid: str = ""
    partner: str = ""


@dataclass(frozen=True)
class EligibleNodes:
    """Nodes that satisfy a request, or the reason for none.

    nearest: the node that fails the fewest conditions. status: of a task that fits none.
    """

    need: CellRequirements
    nodes: tuple[Node, ...]
    nearest: Node | None
    reason: str = ""
    status: Status = Status.UNPLACEABLE

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
    def by_pair(self) -> list[Spot]:
        """Spots of two nodes of a type, every two, in rounds in which each node has one partner."""
        return [
            Spot(f"{first.node_id} {second.node_id}", first, partner=second.node_id)
            for nodes in self.by_type.values()
            for first, second in _list_rounds(nodes)
        ]

    @cached_property
    def by_gpu(self) -> list[Spot]:
        """Spots of gpu_count matching GPUs each; a remainder of a model is left out."""
        return [spot for node in self.nodes for spot in _list_gpu_spots(self.need, node)]


def make_cell_request(cell: CellSpec) -> CellRequirements:
    return CellRequirements(
        cell.threads,
        cell.gpu_count,
        cell.gpu_model,
        cell.framework,
        cell.device,
        cell.processes,
    )


def make_task_request(task: Task) -> CellRequirements:
    """Make the request of a task.

    Its threads count as cores, unless `logical` set them: see its cell.
    """
    return CellRequirements(
        task.threads,
        task.gpu_count,
        task.gpu_model,
        task.framework,
        task.device,
        task.processes,
        task.build,
    )


def resolve_threads(threads: Threads, node: Node, devices: int) -> int:
    """Return the number of threads of each device that the setting means on this node.

    `physical` and `logical` are divided among several devices; at least 1.
    """
    if threads is ThreadRule.PHYSICAL:
        return max(1, node.physical // max(1, devices))
    if threads is ThreadRule.LOGICAL:
        return max(1, node.logical // max(1, devices))
    return int(threads)


def describe_unmet(need: CellRequirements, sweep: Sweep, node: Node) -> tuple[str, ...]:
    """List the conditions that fail on this node as texts; empty: it is eligible."""
    return tuple(demand.unmet(node) for demand in find_unmet(need, sweep, node))


def find_unmet(need: CellRequirements, sweep: Sweep, node: Node) -> tuple[Requirement, ...]:
    """List the requirements that fail on this node; empty: it is eligible."""
    return tuple(demand for demand in list_requirements(need, sweep) if not demand.is_met(node))


class NodeGroups:
    """Nodes grouped by equal hardware, so that a request is checked once per group."""

    def __init__(self, nodes: Sequence[Node], sweep: Sweep) -> None:
        self._sweep = sweep
        self._fits: dict[CellRequirements, EligibleNodes] = {}
        self._sizes = list_disk_sizes(sweep)
        self._locked = {
            (entrant.framework, locked.device)
            for entrant in sweep.entrants
            for locked in entrant.locked
        }
        self._groups: dict[object, list[Node]] = {}
        for node in sorted(nodes, key=lambda node: (node.hostname, node.node_id)):
            self._groups.setdefault(self._identify_kind(node), []).append(node)

    def fit(self, need: CellRequirements) -> EligibleNodes:
        if (need.framework, need.device) not in self._locked:  # then others have the same need
            need = replace(need, framework="", device="cpu")
        if need not in self._fits:
            self._fits[need] = self._find(need)
        return self._fits[need]

    def _identify_kind(self, node: Node) -> object:
        gpus = tuple((gpu.name, gpu.compute_capability) for gpu in node.gpus)
        labels_of_node = dict(node.labels)
        labels = tuple(labels_of_node.get(key) for key, _ in self._sweep.labels)
        platform = (node.system, node.architecture)
        size = (node.physical, node.logical, node.ram_bytes)
        hardware = (node.node_type, *size, gpus, node.gpu_remarks, node.cuda_major)
        # The number of sizes that fit, not the free bytes, which differ on every node.
        room = node.free_disk_bytes and bisect_right(self._sizes, node.free_disk_bytes)
        return (*hardware, platform, labels, room)

    def _find(self, need: CellRequirements) -> EligibleNodes:
        demands = list_requirements(need, self._sweep)
        kinds = list(self._groups.values())
        missing = [[d for d in demands if not d.is_met(nodes[0])] for nodes in kinds]
        fitting = [
            node for nodes, unmet in zip(kinds, missing, strict=True) if not unmet for node in nodes
        ]
        if fitting:
            return EligibleNodes(need, tuple(fitting), fitting[0])
        if not kinds:
            return EligibleNodes(need, (), None, "there is no node")
        examples = [nodes[0] for nodes in kinds]
        nearest, lacking = min(
            zip(examples, missing, strict=True),
            key=lambda pair: (len(pair[1]), *_rank_smallness(pair[0])),
        )
        reason = _explain(demands, examples, nearest, lacking)
        return EligibleNodes(need, (), nearest, reason, _choose_status(demands, examples))


def _choose_status(demands: Sequence[Requirement], examples: Sequence[Node]) -> Status:
    """Unsupported, if a condition that no node meets says so."""
    hopeless = [d for d in demands if not any(d.is_met(node) for node in examples)]
    statuses = [demand.choose_status(examples) for demand in hopeless]
    return Status.UNSUPPORTED if Status.UNSUPPORTED in statuses else Status.UNPLACEABLE


def _rank_smallness(node: Node) -> tuple[int, ...]:
    return (-node.physical, -node.ram_bytes, -node.free_disk_bytes)


def _list_gpu_spots(need: CellRequirements, node: Node) -> Iterator[Spot]:
    for gpus in group_by_model(node.gpus, need.gpu_model, need.gpu_count):
        for first in range(0, len(gpus) - need.gpu_count + 1, need.gpu_count):
            uuids = ",".join(gpu.uuid for gpu in gpus[first : first + need.gpu_count])
            yield Spot(f"{node.node_id}/{uuids}", node, uuids)


def _list_rounds(nodes: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    """Yield every two nodes once, by the circle method of tournaments.

    An odd one out has a free round.
    """
    circle: list[Node | None] = [*nodes, *([None] if len(nodes) % 2 else [])]
    for _ in range(len(circle) - 1):
        for number in range(len(circle) // 2):
            first, second = circle[number], circle[-1 - number]
            if first and second:
                yield (first, second) if first.node_id < second.node_id else (second, first)
        circle.insert(1, circle.pop())


def _explain(
    demands: Sequence[Requirement],
    examples: Sequence[Node],
    nearest: Node,
    lacking: Sequence[Requirement],
) -> str:
    hopeless = [d for d in demands if not any(d.is_met(node) for node in examples)]
    if hopeless:
        reason = "; ".join(demand.unmet_by_all(examples) for demand in hopeless)
        return f"{reason}; nearest: {nearest.hostname}" if len(examples) > 1 else reason
    deciding = [d for d in demands if not all(d.is_met(node) for node in examples)]
    wanted = " and ".join(demand.wants for demand in deciding)
    both = "both" if len(deciding) == 2 else "all"
    rest = " and ".join(demand.wants for demand in lacking)
    return f"needs {wanted}, no node has {both}; nearest: {nearest.hostname}, lacks {rest}"
