"""`run`: a sweep from its file, or from where an earlier run left it, to its rows and its grid."""

import os
from pathlib import Path

from rich.console import Console

from velodrome.agents.environments.frameworks import available
from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.inventory import take
from velodrome.agents.node import Node
from velodrome.scheduler.commands.output import closing, console, print_json
from velodrome.scheduler.commands.report import show
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.fleet.bookkeeping import outstanding, record_unplaceable
from velodrome.scheduler.fleet.embedded_ray import embedded_ray
from velodrome.scheduler.fleet.progress import watching
from velodrome.scheduler.fleet.queue import Attempt
from velodrome.scheduler.plans.expectations import Expectations, expectations
from velodrome.scheduler.plans.preparation import planned, versions_of
from velodrome.scheduler.reports.cells import gather
from velodrome.scheduler.reports.tables import tabulate
from velodrome.scheduler.reports.task_rows import surprises
from velodrome.scheduler.results.store import Store, new_sweep_id
from velodrome.scheduler.sweeps.parts import Sweep
from velodrome.scheduler.sweeps.sweep_file import load


def run(path: Path | None, results: Path, resume: str, only: str, *, as_json: bool) -> int:
    """Exit status: 0 all of the sweep's tasks ended as expected, 1 some did not."""
    store = Store(results)
    sweep_id = store.resolve(resume) if resume else new_sweep_id()
    sweep = _sweep(path, store, sweep_id if resume else "")
    expected = expectations(available())
    node = take()
    numbers = store.numbers(sweep_id)
    environments = EnvironmentStore(default_root())
    versions = versions_of(sweep)
    for framework, device in versions if resume else ():
        store.version_locks(sweep_id).copy_to(environments.versions, framework, device)
    plan = planned(sweep, only, (node,), environments, numbers)
    screen = Console(stderr=True, highlight=False) if as_json else console()
    with store.working_on(sweep_id):
        store.begin(sweep_id, sweep.text, plan)
        store.keep_locks(sweep_id, environments.versions, versions)
        store.drop_orphans(sweep_id)
        store.put_nodes(sweep_id, (node,))
        record_unplaceable(plan, store, sweep_id, expected)
        attempts = outstanding(plan, store, sweep_id)
        total = len(plan.placements)
        again = f"velodrome run --resume {sweep_id} --results {results}"
        screen.print(f"sweep {sweep_id}: {len(attempts)} of {total} runs to do; again: {again}")
        try:
            _attempt(attempts, node, store, sweep_id, total, screen, expected)
        except KeyboardInterrupt:
            screen.print(f"interrupted; what was finished is kept. Go on with: {again}")
            raise
        store.compact(sweep_id)
    return _finish(store, results, sweep_id, as_json=as_json)


def _sweep(path: Path | None, store: Store, resumed: str) -> Sweep:
    """The sweep of the file named, or as kept with the one that is resumed."""
    if path is not None:
        return load(path)  # of a sweep that is resumed the store refuses another text
    if resumed:
        return load(store.sweep_file(resumed))
    raise ConfigError("command line", "no sweep file is named", "Try sweeps/quick.yaml.")


def _attempt(
    attempts: tuple[Attempt, ...],
    node: Node,
    store: Store,
    sweep_id: str,
    total: int,
    screen: Console,
    expected: Expectations,
) -> None:
    if not attempts:
        return
    with watching(screen, total, total - len(attempts)) as watcher:
        watcher.note("starting Ray on this machine")
        with embedded_ray(node.logical, len(node.gpus)) as started:
            # Ray reads its token's mode once, when it is imported: here, for the first time.
            os.environ.update(started.variables)
            from velodrome.scheduler.fleet.cluster import local_members
            from velodrome.scheduler.fleet.running import run as run_attempts

            with local_members(node, started.address) as members:
                run_attempts(
                    attempts, members, store, sweep_id, str(default_root()), watcher, expected
                )


def _finish(store: Store, results: Path, sweep_id: str, *, as_json: bool) -> int:
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
        f"wrote {results}/{{tasks,samples,utilization,nodes,parameters}}/sweep={sweep_id}",
        f"next: velodrome report --results {results} --sweep {sweep_id} --markdown",
    )
    return 1 if surprising else 0
