"""Explanations of a plan: where each task runs, and why it does not run on other nodes. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from velodrome.agents.gpu_models import select_gpus
from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.agents.task import Task
from velodrome.scheduler.disambiguation import make_distinct
from velodrome.scheduler.plans.eligibility import find_unmet, make_task_request
from velodrome.scheduler.plans.placement import Placement, Plan, Unplaceable
from velodrome.scheduler.plans.requirement import CellRequirements
from velodrome.scheduler.plans.requirements import find_lock
from velodrome.scheduler.sweeps.sweep import Sweep, ThreadRule

FITS = "also suitable"


@dataclass(frozen=True)
class UnsuitableNodes:
    """Nodes on which a task does not run. wants: what they lack, in brief; reasons: in full.

    wants is empty where the nodes are suitable but others were chosen.
    """

    nodes: tuple[str, ...]
    wants: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class TaskExplanation:
    """Nodes that run a task of a plan, and why others do not. name: unique within the plan.

    nodes: host names; empty: reason says why it runs nowhere. locks: per node, the lock file of its
    environment; empty: it is not built from a lock. gpus: per node, the model of its GPUs; empty:
    it uses none, or the node has no other.
    """

    task: Task
    name: str
    nodes: tuple[str, ...]
    repeats: int
    elsewhere: tuple[UnsuitableNodes, ...]
    reason: str = ""
    locks: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()


def explain_plan(plan: Plan, sweep: Sweep, nodes: Sequence[Node]) -> tuple[TaskExplanation, ...]:
    """Explain every task: first what runs, in the plan's order, then what runs nowhere."""
    reasons, names = _Reasons(sweep, nodes), name_tasks(plan.tasks)
    by_task: dict[Task, list[Placement]] = {}
    for placement in plan.placements:
        by_task.setdefault(placement.task, []).append(placement)
    placed = (
        _explain_placed(task, group, sweep, nodes, reasons) for task, group in by_task.items()
    )
    nowhere = (_explain_unplaceable(entry, sweep, reasons) for entry in plan.unplaceable)
    return tuple(replace(item, name=names[item.task]) for item in (*placed, *nowhere))


def name_tasks(tasks: Iterable[Task]) -> dict[Task, str]:
    """Name each task by its label, with the fields that differ where labels are equal."""
    each = tuple(dict.fromkeys(tasks))
    labels = {task: task.label for task in each}
    return make_distinct(labels, {task: _list_fields(task) for task in each})


def _list_fields(task: Task) -> dict[str, str]:
    """Map field names to texts, the same ones for each task; timing as a sweep file names it."""
    timing = {name: str(value) for name, value in task.timing._asdict().items()}
    others = {name: str(value) for name, value in task.deciding.items() if name != "timing"}
    phases = {"phases": ", ".join(task.phases), "optimizer": task.optimizer or "none"}
    return {"definition": ""} | others | phases | timing


class _Reasons:
    """Groups the nodes that fail a request for the same reasons; cached for tasks that share it."""

    def __init__(self, sweep: Sweep, nodes: Sequence[Node]) -> None:
        self._sweep = sweep
        self._nodes = nodes
        self._found: dict[CellRequirements, tuple[UnsuitableNodes, ...]] = {}

    def find(self, need: CellRequirements, but: Iterable[str] = ()) -> tuple[UnsuitableNodes, ...]:
        """List the unsuitable nodes, leaving out those of `but`."""
        if need not in self._found:
            self._found[need] = tuple(self._find(need))
        out = frozenset(but)
        others = (
            UnsuitableNodes(
                tuple(name for name in group.nodes if name not in out), group.wants, group.reasons
            )
            for group in self._found[need]
        )
        return tuple(group for group in others if group.nodes)

    def _find(self, need: CellRequirements) -> Iterator[UnsuitableNodes]:
        groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
        for node in self._nodes:
            failed = find_unmet(need, self._sweep, node)
            wants = tuple(demand.wants for demand in failed)
            reasons = tuple(demand.unmet(node) for demand in failed) or (FITS,)
            groups.setdefault((wants, reasons), []).append(node.hostname)
        for (wants, reasons), names in groups.items():
            yield UnsuitableNodes(tuple(names), wants, reasons)


def _explain_placed(
    task: Task,
    placements: Sequence[Placement],
    sweep: Sweep,
    nodes: Sequence[Node],
    reasons: _Reasons,
) -> TaskExplanation:
    nodes_by_id = {node.node_id: node for node in nodes}
    locks: dict[str, str] = {}  # by the name of the node
    gpus: dict[str, str] = {}
    for node_id in dict.fromkeys(placement.node_id for placement in placements):
        node = nodes_by_id.get(node_id)
        locks[node.hostname if node else node_id] = (
            find_lock(make_task_request(task), sweep, node) if node else ""
        )
        own = {placement.gpu_uuid for placement in placements if placement.node_id == node_id}
        gpus[node.hostname if node else node_id] = _name_gpus(task, node, own) if node else ""
    repeats = len(placements) // len({placement.spot for placement in placements})
    elsewhere = reasons.find(placements[0].constraint.need, but=locks)
    hosts, files = tuple(locks), tuple(locks.values())
    models = tuple(gpus.values())
    return TaskExplanation(task, task.label, hosts, repeats, elsewhere, locks=files, gpus=models)


def _name_gpus(task: Task, node: Node, uuids: Collection[str]) -> str:
    """Name the model of a task's GPUs on a node that has several. uuids: of each GPU's own runs."""
    if not task.gpu_count or len({gpu.name for gpu in node.gpus}) == 1:
        return ""
    named = [gpu.name for gpu in node.gpus for text in uuids if gpu.uuid in text.split(",")]
    chosen = named or [gpu.name for gpu in select_gpus(node.gpus, task.gpu_model, task.gpu_count)]
    return ", ".join(dict.fromkeys(chosen))


def _explain_unplaceable(entry: Unplaceable, sweep: Sweep, reasons: _Reasons) -> TaskExplanation:
    if entry.status is not Status.UNPLACEABLE:
        return TaskExplanation(entry.task, entry.task.label, (), 0, (), entry.reason)
    need = make_task_request(entry.task)
    if need.threads not in sweep.threads:  # it is what `physical` comes to on the nearest node
        need = replace(need, threads=ThreadRule.PHYSICAL)
    return TaskExplanation(entry.task, entry.task.label, (), 0, reasons.find(need), entry.reason)
