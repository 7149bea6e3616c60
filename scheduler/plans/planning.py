"""Cells to placements on nodes, and for what fits nowhere the condition that failed. Pure.

A task may run at several spots (each type, each node, each GPU). Its repeats are numbered through
over all of them, so that (task, repeat) names one placement in a sweep, whatever the rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.agents.task import Task
from velodrome.scheduler.plans.fitting import Fit, Fleet, Spot, need_of, resolve
from velodrome.scheduler.sweeps.expansion import Cell, is_excluded
from velodrome.scheduler.sweeps.parts import Sweep, ThreadRule, Where


@dataclass(frozen=True, slots=True)
class Placement:
    """One repeat of a task on a node. spot: what of the fleet it stands for, empty for any of it.

    gpu_uuid is set where each GPU is measured by itself; several are separated by commas.
    """

    task: Task
    repeat: int
    node_id: str
    spot: str = ""
    gpu_uuid: str = ""


@dataclass(frozen=True, slots=True)
class Unplaceable:
    """A task that runs nowhere: no node fits, or its framework has no path for its device."""

    task: Task
    reason: str
    status: Status = Status.UNPLACEABLE


@dataclass(frozen=True)
class Plan:
    """Placements in the order in which they should run: every task once, then again."""

    placements: tuple[Placement, ...] = ()
    unplaceable: tuple[Unplaceable, ...] = ()


Numbers = Mapping[str, Mapping[str, int]]
"""Of a task's key and a spot, the number of its first repeat there."""


def plan(
    cells: Sequence[Cell],
    sweep: Sweep,
    nodes: Sequence[Node],
    lock_hashes: Mapping[tuple[str, str], str],
    numbers: Numbers | None = None,
) -> Plan:
    """Where every cell runs.

    lock_hashes: of (framework, device), empty where there is no lock. numbers: those of a sweep
    that is gone on with, kept even if the fleet has changed since.
    """
    fleet = Fleet(nodes, sweep)
    devices = {entrant.framework: entrant.devices for entrant in sweep.entrants}
    turns: dict[object, int] = {}
    spots: dict[Task, dict[str, Spot]] = {}
    unplaceable: dict[Task, Unplaceable] = {}
    for cell in cells:
        fit = fleet.fit(need_of(cell))
        refusal = _refusal(cell, devices[cell.framework], fit)
        if refusal:
            task = _task(cell, sweep, _nearest_threads(cell, fit), lock_hashes)
            unplaceable.setdefault(task, Unplaceable(task, *refusal))
            continue
        for threads, places in _by_threads(cell, sweep.where, fit, _turn(cell, turns)).items():
            task = _task(cell, sweep, threads, lock_hashes)
            if cell.threads == threads or not is_excluded(task, sweep.exclusions):
                spots[task] = places | spots.get(task, {})
    # 8 threads may fit no node's cores where `logical` comes to 8: the same task, and it runs.
    nowhere = tuple(entry for task, entry in unplaceable.items() if task not in spots)
    return Plan(tuple(_placements(spots, sweep.repeats, numbers or {})), nowhere)


def _refusal(cell: Cell, devices: tuple[str, ...], fit: Fit) -> tuple[str, Status] | None:
    if cell.device not in devices:
        return f"{cell.framework} has no {cell.device} path", Status.UNSUPPORTED
    return (fit.reason, Status.UNPLACEABLE) if fit.reason else None


def _nearest_threads(cell: Cell, fit: Fit) -> int:
    """On the node that comes nearest; without any, 1 stands for what depends on the node."""
    if fit.nearest:
        return resolve(cell.threads, fit.nearest)
    return 1 if isinstance(cell.threads, ThreadRule) else cell.threads


def _task(
    cell: Cell, sweep: Sweep, threads: int, lock_hashes: Mapping[tuple[str, str], str]
) -> Task:
    return Task(
        framework=cell.framework,
        variant=cell.variant,
        model=cell.model,
        batch_size=cell.batch_size,
        device=cell.device,
        gpu_count=cell.gpu_count,
        gpu_model=cell.gpu_model,
        threads=threads,
        dtype=cell.dtype,
        seed=cell.seed,
        timing=sweep.timing,
        limits=sweep.limits,
        exclusive=sweep.exclusive,
        sampling_hz=sweep.sampling_hz,
        lock_hash=lock_hashes.get((cell.framework, cell.device), ""),
    )


def _turn(cell: Cell, turns: dict[object, int]) -> int:
    """Whose turn it is among equal nodes. Cells that will be compared share it, hence a node."""
    course = (cell.model, cell.batch_size, cell.device, cell.dtype)
    return turns.setdefault(course, len(turns))


def _by_threads(cell: Cell, where: Where, fit: Fit, turn: int) -> dict[int, dict[str, Spot]]:
    """The cell's spots by name, apart for each number of threads that it comes to there."""
    found: dict[int, dict[str, Spot]] = {}
    for spot in _spots(where, cell.gpu_count, fit, turn):
        found.setdefault(resolve(cell.threads, spot.node), {})[spot.name] = spot
    return found


def _spots(where: Where, gpu_count: int, fit: Fit, turn: int) -> Sequence[Spot]:
    if where is Where.ANY:
        return (Spot("", fit.nodes[turn % len(fit.nodes)]),)
    if where is Where.EACH_TYPE:
        return [Spot(name, alike[turn % len(alike)]) for name, alike in fit.by_type.items()]
    return fit.by_gpu if where is Where.EACH_GPU and gpu_count else fit.by_node


def _placements(
    spots: Mapping[Task, Mapping[str, Spot]], repeats: int, numbers: Numbers
) -> Iterator[Placement]:
    firsts = [
        (task, spot, first)
        for task, places in spots.items()
        for spot, first in _numbered(task, places, repeats, numbers)
    ]
    for repeat in range(repeats):
        for task, spot, first in firsts:
            yield Placement(task, first + repeat, spot.node.node_id, spot.name, spot.gpu_uuid)


def _numbered(
    task: Task, places: Mapping[str, Spot], repeats: int, numbers: Numbers
) -> Iterator[tuple[Spot, int]]:
    """Each spot with the number of its first repeat: the one it had, else the next that is free."""
    had = numbers.get(task.key, {}) if numbers else {}
    free = max(had.values(), default=-repeats) + repeats
    for name, spot in places.items():
        if name in had:
            yield spot, had[name]
        else:
            yield spot, free
            free += repeats
