"""`plan`: what would run where, and why the rest cannot; starts nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.inventory import take_inventory
from velodrome.agents.node import Node
from velodrome.scheduler.commands.output import Row, print_json, print_lines, print_table
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.plans import declared_nodes
from velodrome.scheduler.plans.explanations import TaskExplanation, explain_plan
from velodrome.scheduler.plans.preparation import plan_sweep
from velodrome.scheduler.sweeps.sweep_file import load_sweep
from velodrome.scheduler.sweeps.yaml_nodes import STANDARD_INPUT

FEW = 3  # names in a cell of the table
MAY_BE_EMPTY = ("lacking elsewhere", "why not")  # columns that are left out then


@dataclass(frozen=True)
class PlanScope:
    """What a plan is made over. noun: what one of the nodes is called. notes: what to know of them.

    options: those with which `velodrome run` runs there. types: those that the nodes stand for, if
    none of them is up.
    """

    nodes: tuple[Node, ...]
    noun: str = "node"
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    types: tuple[declared_nodes.DeclaredType, ...] = ()

    @property
    def up(self) -> tuple[Node, ...]:
        return () if self.types else self.nodes


def plan(
    path: Path, only: str, address: str, cluster: Path | None, *, with_reasons: bool, as_json: bool
) -> int:
    """Over a cluster's nodes, the types that a cluster.yaml declares, or this machine."""
    if address:
        ground = cluster_scope(address)
    else:
        ground = declared_scope(cluster) if cluster else PlanScope((take_inventory(),))
    return plan_over(ground, path, only, with_reasons=with_reasons, as_json=as_json)


def cluster_scope(address: str) -> PlanScope:
    """ClusterUnreachable if it is not there; nothing but inventories runs on it."""
    from velodrome.scheduler.fleet.cluster import list_nodes

    notes: list[str] = []
    nodes = list_nodes(address, notes.append)
    return PlanScope(nodes, notes=tuple(notes), options=("--address", address))


def declared_scope(cluster: Path) -> PlanScope:
    """ConfigError if the file is wrong."""
    types = declared_nodes.load_types(cluster)
    notes = tuple(
        f"{one.name}: not declared, hence {', '.join(one.derived)}; see metadata: in {cluster}"
        for one in types
        if one.derived
    )
    options = ("--address", "auto", "--cluster", str(cluster))
    return PlanScope(tuple(one.node for one in types), "node type", notes, options, types)


def plan_over(
    ground: PlanScope, path: Path, only: str, *, with_reasons: bool, as_json: bool
) -> int:
    """Exit status 0 if something can run, else 1. with_reasons: a row for each task and node."""
    sweep = load_sweep(path)
    store = EnvironmentStore(default_root())
    made = plan_sweep(sweep, only, ground.up, store, declared=ground.types)
    explained = explain_plan(made, sweep, ground.nodes)
    status = 0 if made.placements else 1
    if as_json:
        print_json([_whole(one) for one in explained])
        return status
    rows = [row for one in explained for row in _reasons(one, ground)] if with_reasons else []
    print_table(rows or _table(explained, ground), right=frozenset({"repeats"}))
    placed = sum(bool(one.nodes) for one in explained)
    print_lines(
        *ground.notes,
        f"{placed} tasks, {len(made.placements)} runs, {len(made.unplaceable)} fit nowhere",
        _next(path, only, ground) if made.placements else "nothing can run here",
    )
    return status


def _next(path: Path, only: str, ground: PlanScope) -> str:
    chosen = ("--only", only) if only else ()
    following = format_command("run", path, *chosen, *ground.options)
    is_given = str(path) == STANDARD_INPUT
    return f"then give the same to: {following}" if is_given else f"next: {following}"


def _whole(one: TaskExplanation) -> Row:
    return {
        "task_id": one.task.key,
        "task": one.name,
        "repeats": one.repeats,
        "node": ", ".join(one.nodes),
        "nodes": one.nodes,
        "locks": dict(zip(one.nodes, one.locks, strict=True)),
        "not_on": {name: entry.reasons for entry in one.elsewhere for name in entry.nodes},
        "why not": one.reason,
    }


def _table(explained: Sequence[TaskExplanation], ground: PlanScope) -> list[Row]:
    rows: list[Row] = [
        {
            "task_id": one.task.key,
            "task": one.name,
            "repeats": one.repeats,
            ground.noun: _few(one.nodes),
            "lacking elsewhere": "" if one.reason else _briefly(one),
            "why not": one.reason,
        }
        for one in explained
    ]
    empty = {name for name in MAY_BE_EMPTY if not any(row[name] for row in rows)}
    return [{name: value for name, value in row.items() if name not in empty} for row in rows]


def _briefly(one: TaskExplanation) -> str:
    """E.g. `1 GPU: cpu-amd, cpu-intel`."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for entry in one.elsewhere:
        lacking.setdefault(entry.wants, []).extend(entry.nodes)
    return "; ".join(
        f"{' and '.join(wants)}: {_few(names)}" for wants, names in lacking.items() if wants
    )


def _reasons(one: TaskExplanation, ground: PlanScope) -> list[Row]:
    lines = [
        *(
            (name, f"runs here, by {lock}" if lock else "runs here")
            for name, lock in zip(one.nodes, one.locks, strict=True)
        ),
        *((name, "; ".join(entry.reasons)) for entry in one.elsewhere for name in entry.nodes),
    ]
    return [
        {"task_id": one.task.key, "task": one.name, ground.noun: name, "why": why}
        for name, why in lines or [("", one.reason)]
    ]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more
