"""Planning of a sweep over given nodes, with the locks of its environments."""

from collections.abc import Sequence

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.environments.versions import split
from velodrome.agents.node import Node
from velodrome.scheduler.errors import EnvironmentUnavailable
from velodrome.scheduler.plans.declared_nodes import DeclaredType
from velodrome.scheduler.plans.lock_fit import find_common_build
from velodrome.scheduler.plans.placement import ChosenEnvironment, Numbers, Plan, make_plan
from velodrome.scheduler.plans.selection import narrow_plan, parse_selection
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep import Entrant, Sweep


def plan_sweep(
    sweep: Sweep,
    only: str,
    nodes: Sequence[Node],
    environments: EnvironmentStore,
    numbers: Numbers | None = None,
    absent: Sequence[Node] = (),
    declared: Sequence[DeclaredType] = (),
) -> Plan:
    """Plan a sweep.

    Nothing is built or started. ConfigError if `only` is invalid or selects nothing. numbers:
    repeat numbers of the sweep being resumed. absent: nodes it was measured on that are not present
    now. declared: node types that can be started. A version that is named for the first time
    (`torch==2.12.1`) is locked; EnvironmentUnavailable if that fails.
    """
    kinds = {device.kind for device in sweep.devices}
    fleet = (*nodes, *absent, *(each.node for each in declared))
    chosen = {
        (entrant.framework, device): _choose(environments, sweep, entrant, device, fleet)
        for entrant in sweep.entrants
        for device in entrant.devices
        if device in kinds
    }
    plan = make_plan(expand_cells(sweep), sweep, nodes, chosen, numbers, absent, declared)
    return narrow_plan(plan, parse_selection(only)) if only else plan


def list_versions(sweep: Sweep) -> tuple[tuple[str, str], ...]:
    """List (framework, device) of every framework that the sweep names at a version."""
    kinds = dict.fromkeys(device.kind for device in sweep.devices)
    return tuple(
        (entrant.framework, kind)
        for entrant in sweep.entrants
        for kind in kinds
        if split(entrant.framework)[1] and kind in entrant.devices
    )


def _choose(
    environments: EnvironmentStore,
    sweep: Sweep,
    entrant: Entrant,
    device: str,
    fleet: Sequence[Node],
) -> ChosenEnvironment:
    build = find_common_build(entrant, fleet) if sweep.same_build and device == "gpu" else ""
    lock_hash = _lock_hash(environments, entrant.framework, build or device)
    return ChosenEnvironment(lock_hash, build)


def _lock_hash(environments: EnvironmentStore, framework: str, accelerator: str) -> str:
    try:
        return environments.lock_hash(framework, accelerator)
    except EnvironmentFailed as failure:
        raise EnvironmentUnavailable(failure.reason) from failure
