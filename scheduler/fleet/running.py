"""A planned sweep to its rows: environments first, then every attempt, then compaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.environments.versions import VersionLocks, split
from velodrome.agents.measurement import Status
from velodrome.agents.task import Task
from velodrome.scheduler.fleet.attempt_events import Ended, Lost
from velodrome.scheduler.fleet.bookkeeping import refused
from velodrome.scheduler.fleet.dispatch import Member, build_environments, run_attempts
from velodrome.scheduler.fleet.progress import Watcher
from velodrome.scheduler.fleet.queue import Attempt, Queue
from velodrome.scheduler.fleet.remote import EnvironmentNeed, EnvironmentOutcome
from velodrome.scheduler.plans.expectations import Expectations
from velodrome.scheduler.results.store import Store

Failures = Mapping[tuple[str, str], EnvironmentOutcome]  # by node id and framework


def run(
    attempts: Sequence[Attempt],
    members: dict[str, Member],
    store: Store,
    sweep_id: str,
    cache: str,
    watcher: Watcher,
    expectations: Expectations,
) -> None:
    """Build what the attempts need, run them, keep every row. Raises KeyboardInterrupt through."""
    keep = _keeper(store, sweep_id, expectations, members)
    failures = _build(attempts, members, cache, watcher)
    able = []
    for attempt in attempts:
        failure = failures.get((attempt.node_id, attempt.task.framework))
        if failure is None:
            able.append(attempt)
            continue
        node = members[attempt.node_id].node
        row = refused(attempt, Status.ENVIRONMENT_FAILED, failure.reason, failure.log_tail, node)
        keep(Ended(attempt, row))
        watcher.event(Ended(attempt, row))
    cores = {node_id: member.node.physical for node_id, member in members.items()}

    def on_event(event: object) -> None:
        keep(event)  # on disk first, then on the screen
        watcher.event(event)

    run_attempts(Queue(able, cores), members, cache, on_event)


def _keeper(
    store: Store, sweep_id: str, expectations: Expectations, members: Mapping[str, Member]
) -> Callable[[object], None]:
    """Writes the rows of what ended; an attempt that was lost is a row too."""

    def keep(event: object) -> None:
        if isinstance(event, Ended):
            store.put(sweep_id, event.measurement, expectations.of(event.attempt.task))
        elif isinstance(event, Lost):
            node = members[event.attempt.node_id].node
            row = refused(event.attempt, Status.LOST, event.reason, "", node)
            store.put(sweep_id, row, expectations.of(event.attempt.task))

    return keep


def _build(
    attempts: Iterable[Attempt], members: dict[str, Member], cache: str, watcher: Watcher
) -> Failures:
    """The environments that could not be built."""
    locks = EnvironmentStore(Path(cache)).versions
    needs: dict[str, set[EnvironmentNeed]] = {}
    for attempt in attempts:
        needs.setdefault(attempt.node_id, set()).update(_environments(attempt.task, locks))
    failures = {}
    ordered = {node: tuple(sorted(wanted)) for node, wanted in needs.items()}
    for node, report in build_environments(members, ordered, cache):
        if not isinstance(report, EnvironmentOutcome):
            watcher.note(getattr(report, "text", str(report)))
        elif not report.ready:
            watcher.note(f"{report.framework}: no environment: {report.reason}")
            failures[(node, report.framework)] = report
    return failures


def _environments(task: Task, locks: VersionLocks) -> tuple[EnvironmentNeed, ...]:
    """The framework's own, and NumPy's for the float64 reference."""
    own = EnvironmentNeed(task.framework, task.device)
    if split(task.framework)[1]:
        texts = locks.texts(task.framework, task.lock_hash)
        own = replace(own, lock_hash=task.lock_hash, texts=texts)
    return (own, EnvironmentNeed("numpy", "cpu"))
