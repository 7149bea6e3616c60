"""Placement of cells on nodes; for a cell that fits nowhere, the condition that failed. Pure.

A task may run at several spots (each type, each node, each GPU). Its repeats are numbered across
all of them, so that (task, repeat) names one placement in a sweep, whatever the rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.agents.phases import choose_optimizer, choose_phases, explain_missing, has_none
from velodrome.agents.task import Task
from velodrome.scheduler.plans.alternatives import ANYWHERE, NodeConstraint, NodesByType
from velodrome.scheduler.plans.declared_nodes import DeclaredType
from velodrome.scheduler.plans.durations import Estimate, estimate_s
from velodrome.scheduler.plans.eligibility import (
    EligibleNodes,
    NodeGroups,
    Spot,
    make_cell_request,
    resolve_threads,
)
from velodrome.scheduler.sweeps.ceilings import choose_timing
from velodrome.scheduler.sweeps.expansion import CellSpec, is_excluded
from velodrome.scheduler.sweeps.groups import find_refusal
from velodrome.scheduler.sweeps.settings import choose_canary, find_missing_precision
from velodrome.scheduler.sweeps.sweep import (
    BatchSize,
    BatchSizeRule,
    Entrant,
    PlacementRule,
    Sweep,
    ThreadRule,
)

FIRST_CONFIRMATION = 1000  # the number of the first repeat that confirms a finding of the plan


@dataclass(frozen=True, slots=True)
class Placement:
    """A repeat of a task on a node. spot: the part of the fleet it stands for; empty: any node.

    gpu_uuid: set where each GPU is measured by itself; several are separated by commas. constraint:
    the nodes that may run it if this one is lost. course: shared by compared placements, which
    should run on the same node.
    """

    task: Task
    repeat: int
    node_id: str
    spot: str = ""
    gpu_uuid: str = ""
    constraint: NodeConstraint = ANYWHERE
    course: tuple[int, str] = (0, "")


@dataclass(frozen=True, slots=True)
class Unplaceable:
    """A task that runs nowhere.

    No node is eligible, its framework does not support its device, or that not its precision.
    """

    task: Task
    reason: str
    status: Status = Status.UNPLACEABLE


@dataclass(frozen=True)
class Plan:
    """Placements in running order: every task once, then again in reverse order, and so on."""

    placements: tuple[Placement, ...] = ()
    unplaceable: tuple[Unplaceable, ...] = ()

    @property
    def tasks(self) -> frozenset[Task]:
        placed = {placement.task for placement in self.placements}
        return frozenset(placed | {entry.task for entry in self.unplaceable})


class ChosenEnvironment(NamedTuple):
    """The lock of a framework's tasks on a device. build: as of Task."""

    lock_hash: str = ""
    build: str = ""


Environments = Mapping[tuple[str, str], ChosenEnvironment]
"""By framework and device."""

Numbers = Mapping[str, Mapping[str, int]]
"""The number of a task's first repeat at a spot, by task key and spot."""


def make_plan(
    cells: Sequence[CellSpec],
    sweep: Sweep,
    nodes: Sequence[Node],
    environments: Environments,
    numbers: Numbers | None = None,
    absent: Sequence[Node] = (),
    declared: Sequence[DeclaredType] = (),
    estimate: Estimate = estimate_s,
) -> Plan:
    """Place every cell: first those that few nodes can run, among these the longest.

    Cells that many nodes can run then fill idle nodes (least flexible job first: M. Pinedo,
    Scheduling, 5th ed. 2016, section 5.3).

    environments: absent where there is no lock. numbers: of the sweep being resumed,
    kept even if the fleet has changed. absent: nodes that are not present now; a cell is placed on
    one if no other will do. declared: types that can be started, treated like absent nodes.
    estimate: seconds of a task.
    """
    types = NodesByType(declared)
    elsewhere = (absent, [each.node for each in declared])
    fleets = [NodeGroups(fleet, sweep) for fleet in (nodes, *elsewhere) if fleet] or [
        NodeGroups((), sweep)
    ]
    entrants = {entrant.framework: entrant for entrant in sweep.entrants}
    has_groups = any(device.count > 1 for device in sweep.devices)
    turns: dict[object, int] = {}
    spots: dict[Task, dict[str, _Place]] = {}
    choices: dict[Task, int] = {}
    unplaceable: dict[Task, Unplaceable] = {}
    for cell in cells:
        fits = [fleet.fit(make_cell_request(cell)) for fleet in fleets]
        refusal = _explain_refusal(cell, sweep, entrants[cell.framework], fits)
        if refusal:
            task = _make_task(cell, sweep, _resolve_nearest_threads(cell, fits[0]), environments)
            unplaceable.setdefault(task, Unplaceable(task, *refusal))
            continue
        turn = _assign_turn(cell, turns, has_groups=has_groups)
        for threads, found in _group_by_threads(cell, sweep.where, fits, turn, types).items():
            task = _make_task(cell, sweep, threads, environments)
            if cell.threads == threads or not is_excluded(task, sweep.exclusions):
                places = {
                    name: _Place(
                        spot,
                        types.make_constraint(sweep.where, fits[0].need, spot),
                        turn,
                    )
                    for name, spot in found.items()
                }
                spots[task] = places | spots.get(task, {})
                choices[task] = _count_choices(sweep.where, fits)
    # 8 threads may fit no node's cores where `logical` comes to 8: the same task, and it runs.
    nowhere = tuple(entry for task, entry in unplaceable.items() if task not in spots)
    order = sorted(spots, key=lambda task: (choices[task], -estimate(task)))
    ordered = {task: spots[task] for task in order}
    return Plan(tuple(_list_placements(ordered, sweep.repeats, numbers or {})), nowhere)


def _count_choices(where: PlacementRule, fits: Sequence[EligibleNodes]) -> int:
    """Count the nodes that may run a cell.

    Where each node or GPU is measured, there is no choice.
    """
    return sum(len(fit.nodes) for fit in fits) if where is PlacementRule.ANY else 1


def _explain_refusal(
    cell: CellSpec, sweep: Sweep, entrant: Entrant, fits: Sequence[EligibleNodes]
) -> tuple[str, Status] | None:
    if has_none(cell.model, sweep.phases):
        return explain_missing(cell.model, sweep.phases), Status.UNSUPPORTED
    if cell.device not in entrant.devices:
        lack = dict(entrant.missing).get(cell.device, f"no {cell.device} path")
        return f"{cell.framework} has {lack}", Status.UNSUPPORTED
    if lack := find_missing_precision(cell.device, cell.dtype):
        return lack, Status.UNSUPPORTED
    phases, size = choose_phases(cell.model, sweep.phases), _split_batch_size(cell.batch_size)
    if refusal := find_refusal(cell.model, phases, *size, cell.device, cell.devices):
        return refusal, Status.UNSUPPORTED
    if any(not fit.reason for fit in fits):
        return _explain_too_few(cell, sweep.where, fits)
    return fits[0].reason, fits[0].status


def _explain_too_few(
    cell: CellSpec, where: PlacementRule, fits: Sequence[EligibleNodes]
) -> tuple[str, Status] | None:
    """Explain that a task on several nodes finds too few that could share it. None: enough."""
    counts = [len(fit.nodes) for fit in fits]
    if where in (PlacementRule.EACH_TYPE, PlacementRule.EACH_PAIR):
        counts = [len(nodes) for fit in fits for nodes in fit.by_type.values()]
    most = max(counts, default=0)
    if most >= cell.nodes:
        return None
    alike = "" if where is PlacementRule.ANY else " of one type"
    found = f"no more than {most}{alike} can run it" if most > 1 else f"only {most} can run it"
    return f"needs {cell.nodes} nodes{alike}, {found}", Status.UNPLACEABLE


def _resolve_nearest_threads(cell: CellSpec, fit: EligibleNodes) -> int:
    """Resolve threads on the nearest node.

    Without any node, 1 stands for a node-dependent number.
    """
    if fit.nearest:
        return resolve_threads(cell.threads, fit.nearest, cell.node_devices)
    return 1 if isinstance(cell.threads, ThreadRule) else cell.threads


def _make_task(cell: CellSpec, sweep: Sweep, threads: int, environments: Environments) -> Task:
    phases = choose_phases(cell.model, sweep.phases)
    batch_size, rule = _split_batch_size(cell.batch_size)
    chosen = environments.get((cell.framework, cell.device), ChosenEnvironment())
    return Task(
        framework=cell.framework,
        variant=cell.variant,
        model=cell.model,
        batch_size=batch_size,
        device=cell.device,
        gpu_count=cell.gpu_count,
        gpu_model=cell.gpu_model,
        threads=threads,
        dtype=cell.dtype,
        seed=cell.seed,
        timing=choose_timing(cell.model, sweep),
        limits=sweep.limits,
        exclusive=sweep.exclusive,
        sampling_hz=sweep.sampling_hz,
        lock_hash=chosen.lock_hash,
        build=chosen.build,
        canary=choose_canary(cell.device, sweep.canary),
        phases=phases,
        optimizer=choose_optimizer(phases, sweep.optimizer),
        batch_size_rule=rule,
        processes=cell.processes,
        nodes=cell.nodes,
    )


def _split_batch_size(batch_size: BatchSize) -> tuple[int, str]:
    """Return the fields batch_size and batch_size_rule of a task."""
    return (0, batch_size.value) if isinstance(batch_size, BatchSizeRule) else (batch_size, "")


def _assign_turn(cell: CellSpec, turns: dict[object, int], *, has_groups: bool) -> int:
    """Assign a turn among equal nodes. Cells that will be compared share it, hence a node.

    has_groups: the sweep has tasks on several devices, whose batches differ from those of one.
    """
    batch_size = 0 if has_groups else cell.batch_size
    return turns.setdefault((cell.model, batch_size, cell.device), len(turns))


def _group_by_threads(
    cell: CellSpec,
    where: PlacementRule,
    fits: Sequence[EligibleNodes],
    turn: int,
    types: NodesByType,
) -> dict[int, dict[str, Spot]]:
    """Group the cell's spots, by name, by the number of threads that the cell means there."""
    found: dict[int, dict[str, Spot]] = {}
    names: set[str] = set()
    for fit in fits:
        for spot in _choose_spots(where, cell, fit, turn, types) if fit.nodes else ():
            if spot.name not in names:
                names.add(spot.name)
                threads = resolve_threads(cell.threads, spot.node, cell.node_devices)
                found.setdefault(threads, {})[spot.name] = spot
    return found


def _choose_spots(
    where: PlacementRule, cell: CellSpec, fit: EligibleNodes, turn: int, types: NodesByType
) -> Sequence[Spot]:
    if where is PlacementRule.EACH_PAIR and cell.nodes > 1:
        return fit.by_pair
    if where is PlacementRule.ANY:
        nodes = types.list_candidates(fit)
        return (Spot("", nodes[turn % len(nodes)]),)
    if where is PlacementRule.EACH_TYPE:
        return [
            Spot(name, alike[turn % len(alike)]) for name, alike in types.group_by_type(fit).items()
        ]
    return fit.by_gpu if where is PlacementRule.EACH_GPU and cell.gpu_count else fit.by_node


class _Place(NamedTuple):
    """A spot chosen for a cell, with its alternatives and turn."""

    spot: Spot
    constraint: NodeConstraint
    turn: int


def _list_placements(
    spots: Mapping[Task, Mapping[str, _Place]], repeats: int, numbers: Numbers
) -> Iterator[Placement]:
    firsts = [
        (task, place, first)
        for task, places in spots.items()
        for place, first in _number_spots(task, places, repeats, numbers)
    ]
    for repeat in range(repeats):
        # Mirrored (ABBA): what drifts steadily lies as much on one side of a comparison as on the
        # other (D. R. Cox, Planning of Experiments, 1958, section 3.5).
        for task, (spot, constraint, turn), first in firsts if repeat % 2 == 0 else firsts[::-1]:
            yield Placement(
                task,
                first + repeat,
                spot.node.node_id,
                spot.name,
                spot.gpu_uuid,
                constraint,
                (turn, spot.name),
            )


def _number_spots(
    task: Task, places: Mapping[str, _Place], repeats: int, numbers: Numbers
) -> Iterator[tuple[_Place, int]]:
    """Yield each spot with its first repeat number: its earlier one, else the next free one."""
    had = numbers.get(task.key, {}) if numbers else {}
    free = max(had.values(), default=-repeats) + repeats
    for name, place in places.items():
        if name in had:
            yield place, had[name]
        else:
            yield place, free
            free += repeats
