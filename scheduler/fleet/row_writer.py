"""Runs the attempts of a planned sweep, and writes a row for every event before it is shown."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.environments.versions import VersionLocks, split
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempt_events import Ended, Lost, NoEnvironment, OutOfTime
from velodrome.scheduler.fleet.attempts import Attempt, EnvironmentNeed
from velodrome.scheduler.fleet.dispatch import PATIENCE_S, Dispatcher
from velodrome.scheduler.fleet.node_queue import MayRun
from velodrome.scheduler.fleet.pending_work import make_unmeasured
from velodrome.scheduler.fleet.progress import ProgressDisplay
from velodrome.scheduler.fleet.transport import Joined, Transport
from velodrome.scheduler.fleet.work_queue import WorkQueue
from velodrome.scheduler.plans.alternatives import NodeConstraint, may_run
from velodrome.scheduler.plans.expected_outcomes import Expectations
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.sweeps.sweep import Sweep


def run_attempts(
    attempts: Sequence[Attempt],
    may_run: MayRun,
    nodes: Sequence[Node],
    transport: Transport,
    writer: "RowWriter",
    display: ProgressDisplay,
    environments: EnvironmentStore,
    patience_s: float = PATIENCE_S,
    until_s: float = math.inf,
) -> None:
    """Run attempts to the end. KeyboardInterrupt goes through; rows are kept.

    may_run: from make_may_run. nodes: the initial ones. until_s: on the monotonic clock, when to
    start nothing more.
    """
    queue = WorkQueue(attempts, nodes, may_run, _make_needs_of(environments.versions))
    writer.put_nodes(nodes)

    def on_event(event: object) -> None:
        writer.handle(event)  # on disk first, then on the screen
        display.show_event(event)

    def is_over() -> bool:
        return time.monotonic() >= until_s

    keep = writer.write_together
    Dispatcher(queue, transport, on_event, patience_s, nodes, is_over, keep).run()


class RowWriter:
    """Writes the rows of ended attempts, and of attempts that were lost or refused."""

    def __init__(self, store: Store, sweep_id: str, expectations: Expectations) -> None:
        self._store = store
        self._sweep_id = sweep_id
        self._expectations = expectations
        self._nodes: dict[str, Node] = {}
        self.left_out: list[Attempt] = []  # since the time is over

    def put_nodes(self, nodes: Sequence[Node]) -> None:
        self._nodes |= {node.node_id: node for node in nodes}
        self._store.put_nodes(self._sweep_id, nodes)

    def write_together(self, ended: Sequence[Ended]) -> None:
        """Write several rows at once; `handle`, called for each afterwards, finds them stored."""
        rows = [
            (each.measurement, self._expectations.find(each.measurement.task)) for each in ended
        ]
        self._store.put_all(self._sweep_id, rows)

    def handle(self, event: object) -> None:
        if isinstance(event, Joined):
            self.put_nodes((event.node,))
        elif isinstance(event, OutOfTime):
            self.left_out += event.attempts
        elif isinstance(event, Ended):
            self._put(event.measurement)
        elif isinstance(event, NoEnvironment):
            why = event.outcome
            failed = Status.ENVIRONMENT_FAILED
            self._put(self._make_row(event.attempt, failed, why.reason, why.log_tail))
        elif isinstance(event, Lost):
            self._put(self._make_row(event.attempt, Status.LOST, event.reason))

    def _make_row(
        self, attempt: Attempt, status: Status, reason: str, log_tail: str = ""
    ) -> Measurement:
        row = make_unmeasured(attempt, status, reason, log_tail, self._nodes.get(attempt.node_id))
        pair = tuple(each for each in attempt.constraint.pair if each != attempt.node_id)
        others = [self._nodes[each] for each in attempt.partners or pair if each in self._nodes]
        return replace(
            row,
            partner_node_ids=tuple(node.node_id for node in others),
            partner_hostnames=tuple(node.hostname for node in others),
        )

    def _put(self, measurement: Measurement) -> None:
        expected = self._expectations.find(measurement.task)
        self._store.put(self._sweep_id, measurement, expected)


def make_may_run(sweep: Sweep) -> Callable[[Attempt, Node], bool]:
    """Return a function that checks if an attempt may run on a node; it caches its answers."""
    answers: dict[tuple[NodeConstraint, int, str, str], bool] = {}

    def check(attempt: Attempt, node: Node) -> bool:
        threads = attempt.task.threads
        key = (attempt.constraint, threads, node.node_id, node.node_type)
        if key not in answers:
            answers[key] = may_run(attempt.constraint, threads, sweep, node)
        return answers[key]

    return check


def _make_needs_of(locks: VersionLocks) -> Callable[[Attempt], tuple[EnvironmentNeed, ...]]:
    """Return a function that lists an attempt's environments.

    Its framework's, and the reference's.
    """
    reference = EnvironmentNeed("numpy", "cpu")

    @cache
    def find(framework: str, accelerator: str, lock_hash: str) -> tuple[EnvironmentNeed, ...]:
        if not split(framework)[1]:
            return (EnvironmentNeed(framework, accelerator), reference)
        texts = locks.texts(framework, lock_hash)
        return (EnvironmentNeed(framework, accelerator, lock_hash, texts), reference)

    return lambda attempt: find(
        attempt.task.framework, attempt.task.accelerator, attempt.task.lock_hash
    )
