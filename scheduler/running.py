"""A planned sweep to its rows: environments first, then every attempt, then compaction."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from velodrome.agents.execution import rerun_command
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Node
from velodrome.agents.task import Task
from velodrome.scheduler.dispatch import Ended, Lost, Member, build_environments, run_attempts
from velodrome.scheduler.planning import Plan
from velodrome.scheduler.progress import Watcher
from velodrome.scheduler.queue import Attempt, Queue
from velodrome.scheduler.remote import EnvironmentOutcome
from velodrome.scheduler.store import Store

Failures = Mapping[tuple[str, str], EnvironmentOutcome]  # by node id and framework


@dataclass
class Outcome:
    """What became of a sweep's attempts: how many ended in each status, this run only."""

    statuses: Counter[Status] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return sum(count for status, count in self.statuses.items() if not status.has_number)


def outstanding(plan: Plan, store: Store, sweep_id: str) -> tuple[Attempt, ...]:
    """What the plan holds and the store does not, each with the number of its next attempt."""
    done = store.finished(sweep_id)
    return tuple(
        Attempt(
            placement.task,
            placement.repeat,
            placement.node_id,
            store.next_attempt(sweep_id, placement.task.key, placement.repeat),
            tuple(filter(None, placement.gpu_uuid.split(","))),
        )
        for placement in plan.placements
        if (placement.task.key, placement.repeat) not in done
    )


def record_unplaceable(plan: Plan, store: Store, sweep_id: str) -> int:
    """A row for every task that fits nowhere, with the condition that failed; how many are new."""
    done = store.finished(sweep_id)
    new = [entry for entry in plan.unplaceable if (entry.task.key, 0) not in done]
    for entry in new:
        attempt = Attempt(entry.task, 0, "")
        store.put(sweep_id, _refused(attempt, entry.status, entry.reason, "", None))
    return len(new)


def run(
    attempts: Sequence[Attempt],
    members: dict[str, Member],
    store: Store,
    sweep_id: str,
    cache: str,
    watcher: Watcher,
) -> Outcome:
    """Build what the attempts need, run them, keep every row. Raises KeyboardInterrupt through."""
    outcome = Outcome()
    keep = _keeper(store, sweep_id, outcome, members)
    failures = _build(attempts, members, cache, watcher)
    able = []
    for attempt in attempts:
        failure = failures.get((attempt.node_id, attempt.task.framework))
        if failure is None:
            able.append(attempt)
            continue
        node = members[attempt.node_id].node
        refused = _refused(
            attempt, Status.ENVIRONMENT_FAILED, failure.reason, failure.log_tail, node
        )
        keep(Ended(attempt, refused))
        watcher.event(Ended(attempt, refused))
    cores = {node_id: member.node.physical for node_id, member in members.items()}

    def on_event(event: object) -> None:
        keep(event)  # on disk first, then on the screen
        watcher.event(event)

    run_attempts(Queue(able, cores), members, cache, on_event)
    return outcome


def _keeper(
    store: Store, sweep_id: str, outcome: Outcome, members: Mapping[str, Member]
) -> Callable[[object], None]:
    """Writes the rows of what ended; an attempt that was lost is a row too."""

    def keep(event: object) -> None:
        if isinstance(event, Ended):
            store.put(sweep_id, event.measurement)
            outcome.statuses[event.measurement.status] += 1
        elif isinstance(event, Lost):
            node = members[event.attempt.node_id].node
            store.put(sweep_id, _refused(event.attempt, Status.LOST, event.reason, "", node))
            if event.again is None:
                outcome.statuses[Status.LOST] += 1

    return keep


def _build(
    attempts: Iterable[Attempt], members: dict[str, Member], cache: str, watcher: Watcher
) -> Failures:
    """The environments that could not be built."""
    needs: dict[str, set[tuple[str, str]]] = {}
    for attempt in attempts:
        needs.setdefault(attempt.node_id, set()).update(_environments(attempt.task))
    failures = {}
    ordered = {node: tuple(sorted(wanted)) for node, wanted in needs.items()}
    for node, report in build_environments(members, ordered, cache):
        if not isinstance(report, EnvironmentOutcome):
            watcher.note(getattr(report, "text", str(report)))
        elif not report.ready:
            watcher.note(f"{report.framework}: no environment: {report.reason}")
            failures[(node, report.framework)] = report
    return failures


def _environments(task: Task) -> tuple[tuple[str, str], ...]:
    """The framework's own, and NumPy's for the float64 reference."""
    return ((task.framework, task.device), ("numpy", "cpu"))


def _refused(
    attempt: Attempt, status: Status, reason: str, log_tail: str, node: Node | None
) -> Measurement:
    now = time.time()
    return Measurement(
        task=attempt.task,
        repeat=attempt.repeat,
        attempt=attempt.number,
        status=status,
        reason=reason,
        node_id=node.node_id if node else "",
        hostname=node.hostname if node else "",
        node_type=node.node_type if node else "",
        cpu_model=node.cpu_model if node else "",
        started_at=now,
        finished_at=now,
        log_tail=log_tail,
        rerun=rerun_command(attempt.task),
    )
