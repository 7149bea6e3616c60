"""Command `plan`: where each task would run, and why others cannot; starts nothing."""

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
MAY_BE_EMPTY = ("other nodes lack", "reason")  # columns that are left out then


@dataclass(frozen=True)
class PlanScope:
    """Nodes that a plan is made over. noun: what a node is called. notes: messages about the nodes.

    options: those with which `velodrome run` runs there. types: the node types that the nodes stand
    for, if none of them is running.
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
    """Plan over a cluster's nodes, the types that a cluster.yaml declares, or this machine."""
    if address:
        scope = cluster_scope(address)
    else:
        scope = declared_scope(cluster) if cluster else PlanScope((take_inventory(),))
    return plan_over(scope, path, only, with_reasons=with_reasons, as_json=as_json)


def cluster_scope(address: str) -> PlanScope:
    """Ask a cluster for its nodes.

    ClusterUnreachable if it does not answer; runs only inventories.
    """
    from velodrome.scheduler.fleet.cluster import list_nodes

    notes: list[str] = []
    nodes = list_nodes(address, notes.append)
    return PlanScope(nodes, notes=tuple(notes), options=("--address", address))


def declared_scope(cluster: Path) -> PlanScope:
    """Read the node types of a cluster.yaml. ConfigError if the file is wrong."""
    types = declared_nodes.load_types(cluster)
    notes = tuple(
        f"{one.name}: not declared, assumed: {', '.join(one.derived)}; see metadata: in {cluster}"
        for one in types
        if one.derived
    )
    options = ("--address", "auto", "--cluster", str(cluster))
    return PlanScope(tuple(one.node for one in types), "node type", notes, options, types)


def plan_over(scope: PlanScope, path: Path, only: str, *, with_reasons: bool, as_json: bool) -> int:
    """Print a plan.

    Exit status 0 if something can run, else 1. with_reasons: a row per task and node.
    """
    sweep = load_sweep(path)
    store = EnvironmentStore(default_root())
    made = plan_sweep(sweep, only, scope.up, store, declared=scope.types)
    explained = explain_plan(made, sweep, scope.nodes)
    status = 0 if made.placements else 1
    if as_json:
        print_json([_whole(one) for one in explained])
        return status
    rows = [row for one in explained for row in _reasons(one, scope)] if with_reasons else []
    print_table(rows or _table(explained, scope), right=frozenset({"repeats"}))
    placed = sum(bool(one.nodes) for one in explained)
    print_lines(
        *scope.notes,
        f"{placed} tasks, {len(made.placements)} runs, {len(made.unplaceable)} fit on no node",
        _next(path, only, scope) if made.placements else "nothing can run here",
    )
    return status


def _next(path: Path, only: str, scope: PlanScope) -> str:
    chosen = ("--only", only) if only else ()
    following = format_command("run", path, *chosen, *scope.options)
    is_given = str(path) == STANDARD_INPUT
    return f"next, with the same input: {following}" if is_given else f"next: {following}"


def _whole(one: TaskExplanation) -> Row:
    return {
        "task_id": one.task.key,
        "task": one.name,
        "repeats": one.repeats,
        "node": ", ".join(one.nodes),
        "nodes": one.nodes,
        "locks": dict(zip(one.nodes, one.locks, strict=True)),
        "not_on": {name: entry.reasons for entry in one.elsewhere for name in entry.nodes},
        "reason": one.reason,
    }


def _table(explained: Sequence[TaskExplanation], scope: PlanScope) -> list[Row]:
    rows: list[Row] = [
        {
            "task_id": one.task.key,
            "task": one.name,
            "repeats": one.repeats,
            scope.noun: _few(one.nodes),
            "other nodes lack": "" if one.reason else _briefly(one),
            "reason": one.reason,
        }
        for one in explained
    ]
    empty = {name for name in MAY_BE_EMPTY if not any(row[name] for row in rows)}
    return [{name: value for name, value in row.items() if name not in empty} for row in rows]


def _briefly(one: TaskExplanation) -> str:
    """Summarize what other nodes lack, e.g. `1 GPU: cpu-amd, cpu-intel`."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for entry in one.elsewhere:
        lacking.setdefault(entry.wants, []).extend(entry.nodes)
    return "; ".join(
        f"{' and '.join(wants)}: {_few(names)}" for wants, names in lacking.items() if wants
    )


def _reasons(one: TaskExplanation, scope: PlanScope) -> list[Row]:
    lines = [
        *(
            (name, f"runs here, with {lock}" if lock else "runs here")
            for name, lock in zip(one.nodes, one.locks, strict=True)
        ),
        *((name, "; ".join(entry.reasons)) for entry in one.elsewhere for name in entry.nodes),
    ]
    return [
        {"task_id": one.task.key, "task": one.name, scope.noun: name, "reason": why}
        for name, why in lines or [("", one.reason)]
    ]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more
