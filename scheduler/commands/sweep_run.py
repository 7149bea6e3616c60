"""Execution of a sweep: planning over the present nodes, measuring, storing rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from velodrome.agents.environments.frameworks import available_frameworks
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
    find_missing_rows,
    list_pending_attempts,
    list_rows,
    record_unplaceable,
)
from velodrome.scheduler.fleet.progress import ProgressDisplay, show_progress
from velodrome.scheduler.interrupts import explain_interrupt
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.plans.declared_nodes import DeclaredType
from velodrome.scheduler.plans.declared_nodes import load_types as load_types
from velodrome.scheduler.plans.expected_outcomes import Expectations, load_expectations
from velodrome.scheduler.plans.placement import Plan
from velodrome.scheduler.plans.preparation import list_versions, plan_sweep
from velodrome.scheduler.results.committed_attempts import Identity
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.standard_streams import ignore_output_errors
from velodrome.scheduler.sweeps.sweep import Sweep

if TYPE_CHECKING:
    from velodrome.scheduler.fleet.membership import Membership


NO_NODE_MEND = "start one with `ray start --address` and at least 1 CPU"


@dataclass(frozen=True)
class SweepRun:
    """A sweep that is being run. resume: the command that resumes it.

    planner: selects what of the plan runs, and what runs after it.
    """

    store: Store
    sweep_id: str
    sweep: Sweep
    only: str
    environments: EnvironmentStore
    expected: Expectations
    resume: str
    planner: RunPlanner

    def plan(self, nodes: Sequence[Node], declared: Sequence[DeclaredType] = ()) -> Plan:
        """Plan over these nodes, the nodes it was measured on before, and declared ones."""
        numbers = self.store.repeat_numbers(self.sweep_id)
        present = {node.node_id for node in nodes}
        absent = [node for node in self.store.nodes(self.sweep_id) if node.node_id not in present]
        plan = plan_sweep(
            self.sweep, self.only, nodes, self.environments, numbers, absent, declared
        )
        return self.planner.select(plan)

    def store_plan(self, plan: Plan) -> tuple[Attempt, ...]:
        """Store the plan and rows of tasks that fit on no node; return the attempts left to do."""
        store, sweep_id = self.store, self.sweep_id
        store.begin(sweep_id, self.sweep.text, plan)
        if not (self.only or self.planner.is_bounded):  # then the plan is complete
            store.withdraw_unplanned(sweep_id, {task.key for task in plan.tasks})
        store.keep_locks(sweep_id, self.environments.versions, list_versions(self.sweep))
        store.drop_orphans(sweep_id)
        record_unplaceable(plan, store, sweep_id, self.expected)
        return list_pending_attempts(plan, store, sweep_id)

    def plan_extra(self, plan: Plan) -> tuple[Plan, tuple[Attempt, ...]]:
        """Plan and store the planner's runs after the plan."""
        extra = self.planner.plan_extra(plan)
        if not extra.placements:
            return extra, ()
        self.store.begin(self.sweep_id, self.sweep.text, extra)
        return extra, list_pending_attempts(extra, self.store, self.sweep_id)

    def check_complete(
        self, expected: Mapping[Identity, str], plan: Plan, nodes: Sequence[Node]
    ) -> None:
        """Raise RowsMissing if an expected row is missing; store what resuming needs."""
        names = find_missing_rows(expected, self.store, self.sweep_id)
        if names:
            self.store.begin(self.sweep_id, self.sweep.text, plan)
            self.store.keep_locks(
                self.sweep_id, self.environments.versions, list_versions(self.sweep)
            )
            self.store.put_nodes(self.sweep_id, nodes)
            raise RowsMissing(
                describe_missing_rows(names, len(expected), self.store.name, self.resume)
            )


def prepare_run(
    store: Store, sweep_id: str, sweep: Sweep, only: str, resume: str, planner: RunPlanner
) -> SweepRun:
    """Collect what a sweep's run needs."""
    environments = EnvironmentStore(default_root())
    return SweepRun(
        store,
        sweep_id,
        sweep,
        only,
        environments,
        load_expectations(available_frameworks()),
        resume,
        planner,
    )


def execute_run(sweep_run: SweepRun, target: Target, screen: Console) -> None:
    """Run a sweep to its end.

    KeyboardInterrupt and ClusterUnreachable go through; rows are kept.
    """
    ignore_output_errors()
    try:
        if target.address:
            _run_on_cluster(sweep_run, target, screen)
        else:
            _run_here(sweep_run, target, screen)
    except ClusterUnreachable as error:
        if sweep_run.store.repeat_numbers(sweep_run.sweep_id):  # it was begun
            raise ClusterUnreachable(f"{error}. Resume with: {sweep_run.resume}") from error
        raise


def resume_command(sweep_id: str, results: str | Path, target: Target, only: str = "") -> str:
    """Return the shell command that resumes a sweep, without its budget, which is spent."""
    options = {
        "--resume": sweep_id,
        "--results": results,
        "--only": only,
        "--address": target.address,
        "--cluster": target.cluster or "",
        "--patience": target.patience,
        "--price": target.price,
    }
    words = [word for name, value in options.items() if value for word in (name, value)]
    return format_command("run", *words)


def _run_here(sweep_run: SweepRun, target: Target, screen: Console) -> None:
    """Run on this machine, under an embedded Ray unless nothing is left to do."""
    typed = sweep_run.store.types().with_type_name(take_inventory())
    node = target.make_prices().with_price(typed)
    plan = sweep_run.plan((node,))
    with sweep_run.store.hold_sweep(sweep_run.sweep_id):
        attempts = sweep_run.store_plan(plan)
        sweep_run.store.put_nodes(sweep_run.sweep_id, (node,))
        with _show_progress(sweep_run, plan, attempts, screen, hosts=False) as display:
            expected = list_rows(plan)
            if attempts:
                display.note("starting Ray on this machine")
                expected = _run_under_own_ray(sweep_run, plan, attempts, node, display)
            sweep_run.store.compact(sweep_run.sweep_id)
    sweep_run.check_complete(expected, plan, (node,))


def _run_under_own_ray(
    sweep_run: SweepRun,
    plan: Plan,
    attempts: Sequence[Attempt],
    node: Node,
    display: ProgressDisplay,
) -> dict[Identity, str]:
    from velodrome.scheduler.fleet.embedded_ray import apply_ray_variables, embedded_ray

    with embedded_ray(node.logical, len(node.gpus)) as started:
        apply_ray_variables(started.variables)  # Ray is imported below, for the first time
        from velodrome.scheduler.fleet.cluster import connect

        with connect(started.address):
            from velodrome.scheduler.fleet.membership import Membership, only_node

            with Membership({only_node(): node}) as membership:
                membership.wait_for_nodes(display.note)
                return _run_attempts(sweep_run, plan, attempts, membership, Target(), display)


def _run_on_cluster(sweep_run: SweepRun, target: Target, screen: Console) -> None:
    from velodrome.scheduler.fleet.cluster import join_cluster

    declared = load_types(target.cluster) if target.cluster else ()
    with join_cluster(target.address):
        from velodrome.scheduler.fleet.membership import Membership

        prices = target.make_prices(declared)
        with Membership(types=sweep_run.store.types(), prices=prices) as membership:
            print_line(screen, f"asking the nodes of {target.address} for their inventories")
            nodes = membership.wait_for_nodes(partial(print_line, screen))
            if not (nodes or declared):
                print_line(screen, f"{target.address} has no node that measures: {NO_NODE_MEND}")
            plan = sweep_run.plan(nodes, declared)
            with sweep_run.store.hold_sweep(sweep_run.sweep_id):
                attempts = sweep_run.store_plan(plan)
                with _show_progress(sweep_run, plan, attempts, screen, hosts=True) as display:
                    expected = list_rows(plan)
                    if attempts:
                        expected = _run_attempts(
                            sweep_run, plan, attempts, membership, target, display, declared
                        )
                    sweep_run.store.compact(sweep_run.sweep_id)
            sweep_run.check_complete(expected, plan, nodes)


def _run_attempts(
    sweep_run: SweepRun,
    plan: Plan,
    attempts: Sequence[Attempt],
    membership: "Membership",
    target: Target,
    display: ProgressDisplay,
    declared: Sequence[DeclaredType] = (),
) -> dict[Identity, str]:
    """Run the attempts; return the rows that are expected by now."""
    from velodrome.scheduler.fleet.node_provisioning import NodeProvisioner
    from velodrome.scheduler.fleet.ray_transport import RayTransport
    from velodrome.scheduler.fleet.row_writer import RowWriter, make_may_run
    from velodrome.scheduler.fleet.row_writer import run_attempts as run_attempts

    # On a cluster every node has its own default place for environments.
    cache = "" if target.address else str(sweep_run.environments.root)
    writer = RowWriter(sweep_run.store, sweep_run.sweep_id, sweep_run.expected)
    may_run = make_may_run(sweep_run.sweep)
    with NodeProvisioner(declared, may_run) as provisioner:
        transport = RayTransport(membership, cache, provisioner)

        def run_some(some: Sequence[Attempt]) -> None:
            run_attempts(
                some,
                may_run,
                membership.nodes,
                transport,
                writer,
                display,
                sweep_run.environments,
                target.patience_s,
                sweep_run.planner.until_s,
            )

        run_some(attempts)
        extra_plan, extra_attempts = sweep_run.plan_extra(plan)
        if extra_attempts:
            display.expect([attempt.task for attempt in extra_attempts])
            run_some(extra_attempts)
    return list_rows(plan, writer.left_out) | list_rows(extra_plan, writer.left_out)


@contextmanager
def _show_progress(
    sweep_run: SweepRun, plan: Plan, attempts: Sequence[Attempt], screen: Console, *, hosts: bool
) -> Iterator[ProgressDisplay]:
    total = len(plan.placements)
    to_do = f"{len(attempts)} of {total} runs to do" if total else "no node fits any of its tasks"
    head = f"sweep {sweep_run.sweep_id}: {to_do}"
    print_line(screen, f"{head}; to resume: {sweep_run.resume}")
    tasks = [attempt.task for attempt in attempts]
    durations = sweep_run.planner.estimate_durations(plan)
    kept = f"finished runs are kept. Resume with: {sweep_run.resume}"
    with (
        explain_interrupt(kept),
        show_progress(screen, total, tasks, hosts=hosts, durations=durations) as display,
    ):
        yield display


def print_line(screen: Console, text: str) -> None:
    """Print a text without markup or line breaks: it holds foreign words and a command to copy."""
    screen.print(Text(strip_controls(text)), soft_wrap=True)
