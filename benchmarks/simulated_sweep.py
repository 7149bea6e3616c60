"""A sweep of 100,000 runs on 1,000 simulated nodes, through the real plan, queue and dispatcher.

Ray, the nodes and the clock are simulated (simulation.py). A run takes 10 to 60 s of that clock:
the expectation of the plan, off by a factor of up to 3 either way. Rows are counted, not written:
storage_cost.py measures that cost. A node counts as busy while it runs a task whose measurement
arrives, and as present until the last task of the sweep ends, or until it dies.
"""

import os
import random
import tempfile
import time
from pathlib import Path

import planning_cost
from simulation import NodeDeath, Run, SimulatedTransport

from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.node import Node
from velodrome.scheduler.fleet import row_writer
from velodrome.scheduler.fleet.attempt_events import Ended, Lost
from velodrome.scheduler.fleet.attempts import Attempt, Work
from velodrome.scheduler.fleet.pending_work import list_pending_attempts
from velodrome.scheduler.plans.durations import estimate_s
from velodrome.scheduler.plans.placement import make_plan
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep import PlacementRule

PROMISED_SHARE = 0.95
SHORTEST_S, LONGEST_S = 10.0, 60.0
OFF_BY = 3.0
ENVIRONMENTS_S = 20.0
DYING_SHARE = 0.01
SWEEP_ID = "simulated"


class Tally:
    """Counts, in place of the row writer and of the progress display."""

    def __init__(self, total: int) -> None:
        self.ended = self.lost = 0
        self.rss_mib: dict[str, int] = {}
        self._marks = {total * percent // 100: f"{percent} %" for percent in (10, 50, 90)}

    def put_nodes(self, nodes: object) -> None:
        pass

    def write_together(self, ended: object) -> None:
        pass

    def handle(self, event: object) -> None:
        self.lost += isinstance(event, Lost)
        if isinstance(event, Ended):
            self.ended += 1
            if self.ended in self._marks:
                self.rss_mib[self._marks[self.ended]] = round(rss_mib())


class Silent:
    """A progress display that shows nothing."""

    def note(self, text: str) -> None:
        pass

    def show_event(self, event: object) -> None:
        pass


class BusyTime:
    """The total time of nodes in completed measurements, and the end of the last one."""

    def __init__(self) -> None:
        self.busy_s = self.makespan_s = 0.0

    def ended(self, run: Run) -> None:
        if run.is_answered and isinstance(run.work, Attempt):
            self.busy_s += run.ended_s - run.began_s
            self.makespan_s = max(self.makespan_s, run.ended_s)


def figures(where: PlacementRule, frameworks: int, dying_share: float) -> dict[str, object]:
    nodes, sweep = planning_cost.fleet(), planning_cost.large_sweep(where, frameworks)
    cpu_s = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "results")
        attempts = _attempts(make_plan(expand_cells(sweep), sweep, nodes, {}), store)
        prepared_s = time.process_time() - cpu_s
        deaths = _deaths(nodes, dying_share, len(attempts))
        busy, tally = BusyTime(), Tally(len(attempts))
        transport = SimulatedTransport(nodes, _durations(), deaths, on_end=busy.ended)
        environments = EnvironmentStore(Path(folder) / "environments")
        cpu_s = time.process_time()
        row_writer.run_attempts(
            attempts,
            row_writer.make_may_run(sweep),
            nodes,
            transport,
            tally,
            Silent(),
            environments,
        )
        cpu_s = time.process_time() - cpu_s
    present_s = sum(busy.makespan_s for _ in nodes) - sum(
        max(0.0, busy.makespan_s - death.at_s) for death in deaths
    )
    share = busy.busy_s / present_s
    return {
        "where": where.value,
        "frameworks": frameworks,
        "runs": len(attempts),
        "nodes": len(nodes),
        "nodes_that_die": len(deaths),
        "ended": tally.ended,
        "lost_and_run_again": tally.lost,
        "makespan_s": round(busy.makespan_s),
        "busy_share": round(share, 4),
        "rss_mib": tally.rss_mib,
        "plan_to_attempts_cpu_s": round(prepared_s, 1),
        "dispatch_cpu_s": round(cpu_s, 1),
        "dispatch_cpu_ms_per_run": round(1e3 * cpu_s / len(attempts), 3),
        "keeps_promise": share >= PROMISED_SHARE and tally.ended == len(attempts),
    }


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _attempts(made: object, store: Store) -> tuple[Attempt, ...]:
    with store.hold_sweep(SWEEP_ID):
        store.begin(SWEEP_ID, "name: large", made)
        return list_pending_attempts(made, store, SWEEP_ID)


def _deaths(nodes: tuple[Node, ...], share: float, runs: int) -> list[NodeDeath]:
    """Return deaths at random times within the expected duration of the sweep."""
    chance = random.Random(1)
    until_s = runs / len(nodes) * SHORTEST_S
    dying = chance.sample(nodes, round(share * len(nodes)))
    return [NodeDeath(chance.uniform(0, until_s), node.node_id) for node in dying]


def _durations():
    def of(work: Work) -> float:
        if not isinstance(work, Attempt):
            return ENVIRONMENTS_S
        chance = random.Random(f"{work.order} {work.node_id}")
        off = OFF_BY ** chance.uniform(-1, 1)
        return min(LONGEST_S, max(SHORTEST_S, estimate_s(work.task) * off))

    return of
