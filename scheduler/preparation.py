"""A sweep and the nodes at hand to a plan, with the locks its environments would have."""

from collections.abc import Sequence

from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.node import Node
from velodrome.scheduler.expansion import expand
from velodrome.scheduler.planning import Numbers, Plan, plan
from velodrome.scheduler.selection import narrow, parse
from velodrome.scheduler.sweep_parts import Sweep


def planned(
    sweep: Sweep,
    only: str,
    nodes: Sequence[Node],
    environments: EnvironmentStore,
    numbers: Numbers | None = None,
) -> Plan:
    """Nothing is built or started. ConfigError if `only` cannot be read or leaves nothing.

    numbers: how the repeats are numbered in a sweep that is gone on with.
    """
    hashes = {
        (entrant.framework, device): environments.lock_hash(entrant.framework, device)
        for entrant in sweep.entrants
        for device in entrant.devices
    }
    made = plan(expand(sweep), sweep, nodes, hashes, numbers)
    return narrow(made, parse(only)) if only else made
