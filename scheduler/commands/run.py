"""`run`: a sweep from its file, or from where an earlier run left it, to its rows and its grid."""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from velodrome.agents.environments.frameworks import available
from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.inventory import take
from velodrome.agents.isolation.log_tail import without_controls
from velodrome.agents.node import Node
from velodrome.scheduler.commands.output import closing, console, print_json
from velodrome.scheduler.commands.report import show
from velodrome.scheduler.commands.where import Where
from velodrome.scheduler.errors import ClusterUnreachable, ConfigError
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.fleet.bookkeeping import outstanding, record_unplaceable
from velodrome.scheduler.fleet.progress import Watcher, watching
from velodrome.scheduler.plans.declared import DeclaredType
from velodrome.scheduler.plans.declared import load as load_types
from velodrome.scheduler.plans.expectations import Expectations, expectations
from velodrome.scheduler.plans.planning import Plan
from velodrome.scheduler.plans.preparation import planned, versions_of
from velodrome.scheduler.reports import odd_one_out_text
from velodrome.scheduler.reports.cells import gather
from velodrome.scheduler.reports.odd_one_out import heats, odd_ones
from velodrome.scheduler.reports.tables import tabulate
from velodrome.scheduler.reports.task_rows import surprises
from velodrome.scheduler.results.store import Store, new_sweep_id
from velodrome.scheduler.results.sweep_ids import checked
from velodrome.scheduler.sweeps.parts import Sweep
from velodrome.scheduler.sweeps.sweep_file import load, parse

if TYPE_CHECKING:
    from velodrome.scheduler.fleet.membership import Membership


def run(
    path: Path | None,
    results: str | Path,
    resume: str,
    only: str,
    where: Where,
    *,
    as_json: bool,
    sweep_id: str = "",
) -> int:
    """Exit status: 0 all of the sweep's tasks ended as expected, 1 some did not.

    sweep_id: of a new sweep, if whoever starts it has named it already.
    """
    store = Store(results)
    sweep_id = store.resolve(resume) if resume else checked(sweep_id or new_sweep_id())
    begun = Begun(
        store,
        sweep_id,
        _sweep(path, store, sweep_id if resume else ""),
        only,
        EnvironmentStore(default_root()),
        expectations(available()),
        _again(sweep_id, results, where),
    )
    for framework, device in versions_of(begun.sweep) if resume else ():
        store.version_locks(sweep_id).copy_to(begun.environments.versions, framework, device)
    screen = Console(stderr=True, highlight=False) if as_json else console()
    try:
        if where.address:
            _on_cluster(begun, where, screen)
        else:
            _here(begun, screen)
    except KeyboardInterrupt:
        _say(screen, f"interrupted; what was finished is kept. Go on with: {begun.again}")
        raise
    except ClusterUnreachable as error:
        if store.numbers(sweep_id):  # it was begun
            raise ClusterUnreachable(f"{error}. Go on with: {begun.again}") from error
        raise
    return _finish(store, results, sweep_id, as_json=as_json)


@dataclass(frozen=True)
class Begun:
    """A sweep that is being run. again: the command that goes on with it."""

    store: Store
    sweep_id: str
    sweep: Sweep
    only: str
    environments: EnvironmentStore
    expected: Expectations
    again: str

    def plan(self, nodes: Sequence[Node], declared: Sequence[DeclaredType] = ()) -> Plan:
        """Over these nodes, those that the sweep was measured on before, and those to be had."""
        numbers = self.store.numbers(self.sweep_id)
        there = {node.node_id for node in nodes}
        absent = [node for node in self.store.nodes(self.sweep_id) if node.node_id not in there]
        return planned(self.sweep, self.only, nodes, self.environments, numbers, absent, declared)

    def keep_plan(self, plan: Plan) -> tuple[Attempt, ...]:
        """On disk, with the rows of what fits nowhere; what is still to do."""
        store, sweep_id = self.store, self.sweep_id
        store.begin(sweep_id, self.sweep.text, plan)
        store.keep_locks(sweep_id, self.environments.versions, versions_of(self.sweep))
        store.drop_orphans(sweep_id)
        record_unplaceable(plan, store, sweep_id, self.expected)
        return outstanding(plan, store, sweep_id)


def _again(sweep_id: str, results: str | Path, where: Where) -> str:
    """The command that goes on with a sweep, to be pasted into a shell."""
    words = ["velodrome", "run", "--resume", sweep_id, "--results", str(results)]
    words += ["--address", where.address] if where.address else []
    words += ["--cluster", str(where.cluster)] if where.cluster else []
    return shlex.join(words)


def _here(begun: Begun, screen: Console) -> None:
    """Under a Ray of our own, which is not started if nothing is left to do."""
    node = take()
    plan = begun.plan((node,))
    with begun.store.working_on(begun.sweep_id):
        attempts = begun.keep_plan(plan)
        begun.store.put_nodes(begun.sweep_id, (node,))
        with _watched(begun, plan, attempts, screen, hosts=False) as watcher:
            if attempts:
                watcher.note("starting Ray on this machine")
                _under_own_ray(begun, attempts, node, watcher)
        begun.store.compact(begun.sweep_id)


def _under_own_ray(begun: Begun, attempts: Sequence[Attempt], node: Node, watcher: Watcher) -> None:
    from velodrome.scheduler.fleet.embedded_ray import embedded_ray

    with embedded_ray(node.logical, len(node.gpus)) as started:
        # Ray reads its token's mode once, when it is imported: below, for the first time.
        os.environ.update(started.variables)
        from velodrome.scheduler.fleet.cluster import connected

        with connected(started.address):
            from velodrome.scheduler.fleet.membership import Membership, only_node

            with Membership({only_node(): node}) as membership:
                membership.first_look(watcher.note)
                _run(begun, attempts, membership, Where(), watcher)


def _on_cluster(begun: Begun, where: Where, screen: Console) -> None:
    from velodrome.scheduler.fleet.cluster import joined_cluster

    declared = load_types(where.cluster) if where.cluster else ()
    with joined_cluster(where.address):
        from velodrome.scheduler.fleet.membership import Membership

        with Membership() as membership:
            _say(screen, f"asking the nodes of {where.address} what they are")
            nodes = membership.first_look(partial(_say, screen))
            plan = begun.plan(nodes, declared)
            with begun.store.working_on(begun.sweep_id):
                attempts = begun.keep_plan(plan)
                with _watched(begun, plan, attempts, screen, hosts=True) as watcher:
                    if attempts:
                        _run(begun, attempts, membership, where, watcher, declared)
                begun.store.compact(begun.sweep_id)


def _run(
    begun: Begun,
    attempts: Sequence[Attempt],
    membership: "Membership",
    where: Where,
    watcher: Watcher,
    declared: Sequence[DeclaredType] = (),
) -> None:
    from velodrome.scheduler.fleet.demand import Demand
    from velodrome.scheduler.fleet.ray_transport import RayTransport
    from velodrome.scheduler.fleet.running import Keeper, rule
    from velodrome.scheduler.fleet.running import run as run_attempts

    # On a cluster every node has its own default place for environments.
    cache = "" if where.address else str(begun.environments.root)
    keeper = Keeper(begun.store, begun.sweep_id, begun.expected)
    may_run = rule(begun.sweep)
    with Demand(declared, may_run) as demand:
        run_attempts(
            attempts,
            may_run,
            membership.nodes,
            RayTransport(membership, cache, demand),
            keeper,
            watcher,
            begun.environments,
            where.patience_s,
        )


@contextmanager
def _watched(
    begun: Begun, plan: Plan, attempts: Sequence[Attempt], screen: Console, *, hosts: bool
) -> Iterator[Watcher]:
    total = len(plan.placements)
    head = f"sweep {begun.sweep_id}: {len(attempts)} of {total} runs to do"
    _say(screen, f"{head}; again: {begun.again}")
    with watching(screen, total, [one.task for one in attempts], hosts=hosts) as watcher:
        yield watcher


def _say(screen: Console, text: str) -> None:
    """Words of others are in it, and a command to be copied: no markup, no line broken."""
    screen.print(Text(without_controls(text)), soft_wrap=True)


def _sweep(path: Path | None, store: Store, resumed: str) -> Sweep:
    """The sweep of the file named, or as kept with the one that is resumed."""
    if path is not None:
        return load(path)  # of a sweep that is resumed the store refuses another text
    if resumed:
        return parse(store.sweep_text(resumed), store.sweep_source(resumed))
    raise ConfigError("command line", "no sweep file is named", "Try sweeps/quick.yaml.")


def _finish(store: Store, results: str | Path, sweep_id: str, *, as_json: bool) -> int:
    rows = store.read("tasks", sweep_id).to_pylist()
    surprising = surprises(rows)
    if as_json:
        print_json(rows)
        return 1 if surprising else 0
    show([tabulate(block, cells) for block, cells in gather(rows).items()])
    closing(
        f"{len(surprising)} of {len(rows)} runs ended otherwise than expected"
        if surprising
        else "everything ended as expected",
        *filter(None, [odd_one_out_text.line(odd_ones(heats(rows)))]),
        f"wrote sweep {sweep_id} to {results}: tasks, samples, utilization, nodes, parameters",
        f"next: {_report(results, sweep_id)}",
    )
    return 1 if surprising else 0


def _report(results: str | Path, sweep_id: str) -> str:
    words = ["--results", str(results), "--sweep", sweep_id, "--markdown"]
    return shlex.join(["velodrome", "report", *words])
