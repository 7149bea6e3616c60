"""Command `plan`: where each task would run, and why others cannot; starts nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.adapters.protocol import USUAL_PHASES
from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.agents.phases import choose_optimizer, explain_missing, has_none
from velodrome.scheduler.commands.output import Row, print_json, print_lines, print_table
from velodrome.scheduler.name_lists import shorten_names
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.plans import declared_nodes
from velodrome.scheduler.plans.explanations import TaskExplanation, explain_plan
from velodrome.scheduler.plans.placement import Plan
from velodrome.scheduler.plans.preparation import plan_sweep
from velodrome.scheduler.sweeps.phases import describe_phases
from velodrome.scheduler.sweeps.sweep import Sweep
from velodrome.scheduler.sweeps.sweep_file import hold_to_one_build, load_sweep
from velodrome.scheduler.sweeps.yaml_nodes import STANDARD_INPUT

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
    path: Path,
    only: str,
    address: str,
    cluster: Path | None,
    *,
    with_reasons: bool,
    as_json: bool,
    same_build: bool = False,
) -> int:
    """Plan over a cluster's nodes, the types that a cluster.yaml declares, or this machine."""
    if address:
        scope = ask_cluster(address)
    else:
        scope = read_scope(cluster) if cluster else PlanScope((take_inventory(),))
    return plan_over(
        scope, path, only, with_reasons=with_reasons, as_json=as_json, same_build=same_build
    )


def ask_cluster(address: str) -> PlanScope:
    """Ask a cluster for its nodes.

    ClusterUnreachable if it does not answer; runs only inventories.
    """
    from velodrome.scheduler.fleet.cluster import list_nodes

    notes: list[str] = []
    nodes = list_nodes(address, notes.append)
    return PlanScope(nodes, notes=tuple(notes), options=("--address", address))


def read_scope(cluster: Path) -> PlanScope:
    """Read the node types of a cluster.yaml. ConfigError if the file is wrong."""
    types = declared_nodes.load_types(cluster)
    notes = tuple(
        f"{kind.name}: not declared, assumed: {', '.join(kind.derived)}; see metadata: in {cluster}"
        for kind in types
        if kind.derived
    )
    options = ("--address", "auto", "--cluster", str(cluster))
    return PlanScope(tuple(kind.node for kind in types), "node type", notes, options, types)


def plan_over(
    scope: PlanScope,
    path: Path,
    only: str,
    *,
    with_reasons: bool,
    as_json: bool,
    same_build: bool = False,
) -> int:
    """Print a plan.

    Exit status 0 if something can run, else 1. with_reasons: a row per task and node.
    """
    sweep = load_sweep(path)
    if same_build:
        sweep = hold_to_one_build(sweep)
        scope = replace(scope, options=("--same-build", *scope.options))
    store = EnvironmentStore(default_root())
    plan = plan_sweep(sweep, only, scope.up, store, declared=scope.types)
    items = explain_plan(plan, sweep, scope.nodes)
    status = 0 if plan.placements else 1
    if as_json:
        print_json([_to_json_row(item) for item in items])
        return status
    rows = [row for item in items for row in _list_reasons(item, scope)] if with_reasons else []
    print_table(rows or _build_table(items, scope), right=frozenset({"repeats"}))
    placed = sum(bool(item.nodes) for item in items)
    print_lines(
        *scope.notes,
        *_describe_phases(sweep),
        *_describe_builds(items),
        f"{placed} tasks, {len(plan.placements)} runs, {_describe_unplaceable(plan)}",
        _describe_next(path, only, scope) if plan.placements else "nothing can run here",
    )
    return status


def _describe_unplaceable(plan: Plan) -> str:
    unsupported = sum(one.status is Status.UNSUPPORTED for one in plan.unplaceable)
    text = f"{len(plan.unplaceable) - unsupported} fit on no node"
    return text + (f", {unsupported} unsupported" if unsupported else "")


def _describe_phases(sweep: Sweep) -> Sequence[str]:
    """Return a line with the sweep's phases if they are not the usual ones, and what lacks some."""
    if sweep.phases == USUAL_PHASES:
        return ()
    optimizer = choose_optimizer(sweep.phases, sweep.optimizer)
    missing = (
        explain_missing(model, sweep.phases)
        for model in sweep.models
        if not has_none(model, sweep.phases)  # then its tasks have the reason
    )
    return (f"phases: {describe_phases(sweep.phases, optimizer)}", *filter(None, missing))


def _describe_builds(items: Sequence[TaskExplanation]) -> Iterator[str]:
    """Yield a line for each framework of which nodes get different builds, with the nodes."""
    builds: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    for item in items:
        found = builds.setdefault((item.task.framework, item.task.device), {})
        for node, lock in zip(item.nodes, item.locks, strict=True):
            if lock:
                found.setdefault(lock, {})[node] = None
    for (framework, device), by_lock in builds.items():
        if len(by_lock) > 1:
            parts = "; ".join(
                f"{lock}: {shorten_names([*nodes])}" for lock, nodes in by_lock.items()
            )
            yield f"{framework} on {device} has different builds ({parts}); see --same-build"


def _describe_next(path: Path, only: str, scope: PlanScope) -> str:
    options = ("--only", only) if only else ()
    following = format_command("run", path, *options, *scope.options)
    is_given = str(path) == STANDARD_INPUT
    return f"next, with the same input: {following}" if is_given else f"next: {following}"


def _to_json_row(item: TaskExplanation) -> Row:
    return {
        "task_id": item.task.key,
        "task": item.name,
        "phases": item.task.phases,
        "optimizer": item.task.optimizer,
        "repeats": item.repeats,
        "node": ", ".join(item.nodes),
        "nodes": item.nodes,
        "locks": dict(zip(item.nodes, item.locks, strict=True)),
        "gpus": dict(zip(item.nodes, item.gpus, strict=True)),
        "not_on": {name: entry.reasons for entry in item.elsewhere for name in entry.nodes},
        "reason": item.reason,
    }


def _build_table(items: Sequence[TaskExplanation], scope: PlanScope) -> list[Row]:
    rows: list[Row] = [
        {
            "task_id": item.task.key,
            "task": item.name,
            "repeats": item.repeats,
            scope.noun: shorten_names(item.nodes),
            "other nodes lack": "" if item.reason else _summarize_lacks(item),
            "reason": item.reason,
        }
        for item in items
    ]
    empty = {name for name in MAY_BE_EMPTY if not any(row[name] for row in rows)}
    return [{name: value for name, value in row.items() if name not in empty} for row in rows]


def _summarize_lacks(item: TaskExplanation) -> str:
    """Summarize what other nodes lack, e.g. `1 GPU: cpu-amd, cpu-intel`."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for entry in item.elsewhere:
        lacking.setdefault(entry.wants, []).extend(entry.nodes)
    return "; ".join(
        f"{' and '.join(wants)}: {shorten_names(names)}"
        for wants, names in lacking.items()
        if wants
    )


def _list_reasons(item: TaskExplanation, scope: PlanScope) -> list[Row]:
    lines = [
        *(
            (name, "runs here" + f", on {gpu}" * bool(gpu) + f", with {lock}" * bool(lock))
            for name, lock, gpu in zip(item.nodes, item.locks, item.gpus, strict=True)
        ),
        *((name, "; ".join(entry.reasons)) for entry in item.elsewhere for name in entry.nodes),
    ]
    return [
        {"task_id": item.task.key, "task": item.name, scope.noun: name, "reason": why}
        for name, why in lines or [("", item.reason)]
    ]
