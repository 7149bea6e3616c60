"""A sweep that is carried out: planned over the nodes there are, measured, its rows kept."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from velodrome.agents.environments.frameworks import available
from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.inventory import take_inventory
from velodrome.agents.node import Node
from velodrome.agents.safe_text import strip_controls
from velodrome.scheduler.commands.history_estimates import RunPlanner
from velodrome.scheduler.commands.target import Target
from velodrome.scheduler.errors import ClusterUnreachable, RowsMissing
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.fleet.pending_work import (
    describe_missing_rows,
    expected_rows,
    find_missing_rows,
    pending_attempts,
    record_unplaceable,
)
from velodrome.scheduler.fleet.progress import ProgressDisplay, show_progress
from velodrome.scheduler.interrupts import on_interrupt
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.plans.declared_nodes import DeclaredType
from velodrome.scheduler.plans.declared_nodes import load_types as load_types
from velodrome.scheduler.plans.expectations import Expectations, load_expectations
from velodrome.scheduler.plans.planning import Plan
from velodrome.scheduler.plans.preparation import plan_sweep, versions_of
from velodrome.scheduler.results.committed_attempts import Identity
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.standard_streams import ignore_output_errors
from velodrome.scheduler.sweeps.sweep import Sweep

if TYPE_CHECKING:
    from velodrome.scheduler.fleet.membership import Membership


@dataclass(frozen=True)
class SweepRun:
    """A sweep that is being run. again: the command that goes on with it.

    guide: what of its plan is run, and what then is run besides.
    """

    store: Store
    sweep_id: str
    sweep: Sweep
    only: str
    environments: EnvironmentStore
    expected: Expectations
    again: str
    guide: RunPlanner

    def plan(self, nodes: Sequence[Node], declared: Sequence[DeclaredType] = ()) -> Plan:
        """Over these nodes, those that the sweep was measured on before, and those to be had."""
        numbers = self.store.repeat_numbers(self.sweep_id)
        there = {node.node_id for node in nodes}
        absent = [node for node in self.store.nodes(self.sweep_id) if node.node_id not in there]
        made = plan_sweep(
            self.sweep, self.only, nodes, self.environments, numbers, absent, declared
        )
        return self.guide.chosen(made)

    def keep_plan(self, plan: Plan) -> tuple[Attempt, ...]:
        """On disk, with the rows of what fits nowhere; what is still to do."""
        store, sweep_id = self.store, self.sweep_id
        store.begin(sweep_id, self.sweep.text, plan)
        if not (self.only or self.guide.is_bounded):  # then it is the plan of all there is
            store.withdraw_unplanned(sweep_id, {task.key for task in plan.tasks})
        store.keep_locks(sweep_id, self.environments.versions, versions_of(self.sweep))
        store.drop_orphans(sweep_id)
        record_unplaceable(plan, store, sweep_id, self.expected)
        return pending_attempts(plan, store, sweep_id)

    def besides(self, plan: Plan) -> tuple[Plan, tuple[Attempt, ...]]:
        """What the guide has run after the plan, which is kept with it."""
        more = self.guide.besides(plan)
        if not more.placements:
            return more, ()
        self.store.begin(self.sweep_id, self.sweep.text, more)
        return more, pending_attempts(more, self.store, self.sweep_id)

    def reckon(self, expected: Mapping[Identity, str], plan: Plan, nodes: Sequence[Node]) -> None:
        """RowsMissing, if not all that was to have a row has one; what is there can be resumed."""
        names = find_missing_rows(expected, self.store, self.sweep_id)
        if names:
            self.store.begin(self.sweep_id, self.sweep.text, plan)
            self.store.keep_locks(
                self.sweep_id, self.environments.versions, versions_of(self.sweep)
            )
            self.store.put_nodes(self.sweep_id, nodes)
            raise RowsMissing(
                describe_missing_rows(names, len(expected), self.store.name, self.again)
            )


def prepare_run(
    store: Store, sweep_id: str, sweep: Sweep, only: str, again: str, guide: RunPlanner
) -> SweepRun:
    environments = EnvironmentStore(default_root())
    return SweepRun(
        store, sweep_id, sweep, only, environments, load_expectations(available()), again, guide
    )


def execute_run(begun: SweepRun, where: Target, screen: Console) -> None:
    """To its end. KeyboardInterrupt and ClusterUnreachable go through; rows are kept."""
    ignore_output_errors()
    try:
        if where.address:
            _on_cluster(begun, where, screen)
        else:
            _here(begun, screen)
    except ClusterUnreachable as error:
        if begun.store.repeat_numbers(begun.sweep_id):  # it was begun
            raise ClusterUnreachable(f"{error}. Go on with: {begun.again}") from error
        raise


def resume_command(sweep_id: str, results: str | Path, where: Target, only: str = "") -> str:
    """The command that goes on with a sweep, to be pasted into a shell.

    Without its budget, which is spent: to go on is to do what is left.
    """
    options = {
        "--resume": sweep_id,
        "--results": results,
        "--only": only,
        "--address": where.address,
        "--cluster": where.cluster or "",
        "--patience": where.patience,
    }
    given = [word for name, value in options.items() if value for word in (name, value)]
    return format_command("run", *given)


def _here(begun: SweepRun, screen: Console) -> None:
    """Under a Ray of our own, which is not started if nothing is left to do."""
    node = begun.store.types().with_type_name(take_inventory())
    plan = begun.plan((node,))
    with begun.store.hold_sweep(begun.sweep_id):
        attempts = begun.keep_plan(plan)
        begun.store.put_nodes(begun.sweep_id, (node,))
        with _watched(begun, plan, attempts, screen, hosts=False) as watcher:
            expected = expected_rows(plan)
            if attempts:
                watcher.note("starting Ray on this machine")
                expected = _under_own_ray(begun, plan, attempts, node, watcher)
            begun.store.compact(begun.sweep_id)
    begun.reckon(expected, plan, (node,))


def _under_own_ray(
    begun: SweepRun, plan: Plan, attempts: Sequence[Attempt], node: Node, watcher: ProgressDisplay
) -> dict[Identity, str]:
    from velodrome.scheduler.fleet.embedded_ray import apply_ray_variables, embedded_ray

    with embedded_ray(node.logical, len(node.gpus)) as started:
        apply_ray_variables(started.variables)  # Ray is imported below, for the first time
        from velodrome.scheduler.fleet.cluster import connect

        with connect(started.address):
            from velodrome.scheduler.fleet.membership import Membership, only_node

            with Membership({only_node(): node}) as membership:
                membership.first_look(watcher.note)
                return _run(begun, plan, attempts, membership, Target(), watcher)


def _on_cluster(begun: SweepRun, where: Target, screen: Console) -> None:
    from velodrome.scheduler.fleet.cluster import join_cluster

    declared = load_types(where.cluster) if where.cluster else ()
    with join_cluster(where.address):
        from velodrome.scheduler.fleet.membership import Membership

        with Membership(types=begun.store.types()) as membership:
            print_line(screen, f"asking the nodes of {where.address} what they are")
            nodes = membership.first_look(partial(print_line, screen))
            plan = begun.plan(nodes, declared)
            with begun.store.hold_sweep(begun.sweep_id):
                attempts = begun.keep_plan(plan)
                with _watched(begun, plan, attempts, screen, hosts=True) as watcher:
                    expected = expected_rows(plan)
                    if attempts:
                        expected = _run(begun, plan, attempts, membership, where, watcher, declared)
                    begun.store.compact(begun.sweep_id)
            begun.reckon(expected, plan, nodes)


def _run(
    begun: SweepRun,
    plan: Plan,
    attempts: Sequence[Attempt],
    membership: "Membership",
    where: Target,
    watcher: ProgressDisplay,
    declared: Sequence[DeclaredType] = (),
) -> dict[Identity, str]:
    """What is to have a row by now."""
    from velodrome.scheduler.fleet.node_provisioning import NodeProvisioner
    from velodrome.scheduler.fleet.ray_transport import RayTransport
    from velodrome.scheduler.fleet.row_writer import RowWriter, make_may_run
    from velodrome.scheduler.fleet.row_writer import run_attempts as run_attempts

    # On a cluster every node has its own default place for environments.
    cache = "" if where.address else str(begun.environments.root)
    keeper = RowWriter(begun.store, begun.sweep_id, begun.expected)
    may_run = make_may_run(begun.sweep)
    with NodeProvisioner(declared, may_run) as demand:
        transport = RayTransport(membership, cache, demand)

        def carry(some: Sequence[Attempt]) -> None:
            run_attempts(
                some,
                may_run,
                membership.nodes,
                transport,
                keeper,
                watcher,
                begun.environments,
                where.patience_s,
                begun.guide.until_s,
            )

        carry(attempts)
        further, more = begun.besides(plan)
        if more:
            watcher.expect([attempt.task for attempt in more])
            carry(more)
    return expected_rows(plan, keeper.left_out) | expected_rows(further, keeper.left_out)


@contextmanager
def _watched(
    begun: SweepRun, plan: Plan, attempts: Sequence[Attempt], screen: Console, *, hosts: bool
) -> Iterator[ProgressDisplay]:
    total = len(plan.placements)
    head = f"sweep {begun.sweep_id}: {len(attempts)} of {total} runs to do"
    print_line(screen, f"{head}; again: {begun.again}")
    tasks = [one.task for one in attempts]
    foresight = begun.guide.foresight(plan)
    kept = f"what was finished is kept. Go on with: {begun.again}"
    with (
        on_interrupt(kept),
        show_progress(screen, total, tasks, hosts=hosts, foresight=foresight) as watcher,
    ):
        yield watcher


def print_line(screen: Console, text: str) -> None:
    """Words of others are in it, and a command to be copied: no markup, no line broken."""
    screen.print(Text(strip_controls(text)), soft_wrap=True)
