"""Work that a plan still needs, rows for attempts that reach no worker, and missing rows."""

import time
from collections.abc import Collection, Mapping, Sequence

from velodrome.agents.execution import rerun_command
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Node
from velodrome.agents.node_prices import price_task
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.plans.expected_outcomes import Expectations
from velodrome.scheduler.plans.placement import Plan
from velodrome.scheduler.results.committed_attempts import Identity
from velodrome.scheduler.results.store import Store

MOST_NAMED = 6  # missing runs


def list_pending_attempts(plan: Plan, store: Store, sweep_id: str) -> tuple[Attempt, ...]:
    """List the plan's attempts that the store lacks, each with its next attempt number."""
    done = store.finished(sweep_id)
    return tuple(
        Attempt(
            placement.task,
            placement.repeat,
            placement.node_id,
            store.next_attempt(sweep_id, placement.task.key, placement.repeat),
            tuple(filter(None, placement.gpu_uuid.split(","))),
            placement.constraint,
            placement.course,
            order,
        )
        for order, placement in enumerate(plan.placements)
        if (placement.task.key, placement.repeat) not in done
    )


def record_unplaceable(plan: Plan, store: Store, sweep_id: str, expectations: Expectations) -> None:
    """Write a row with the failed condition for every task that fits on no node.

    Repeating it with the same reason keeps the same row; a new reason adds a row.
    """
    if not plan.unplaceable:
        return
    done, last = store.finished(sweep_id), _read_last_reasons(store, sweep_id)
    rows = []
    for entry in plan.unplaceable:
        key = entry.task.key
        if (key, 0) not in done and last.get(key) != entry.reason:
            attempt = Attempt(entry.task, 0, "", store.next_attempt(sweep_id, key, 0))
            row = make_unmeasured(attempt, entry.status, entry.reason, "", None)
            rows.append((row, expectations.find(entry.task)))
    store.put_all(sweep_id, rows)


def _read_last_reasons(store: Store, sweep_id: str) -> dict[str, str]:
    """Map each task whose first repeat was last refused on all nodes to the reason."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = store.read("tasks", sweep_id, ("task_id", "repeat", "attempt", "node_id", "reason"))
    rows = table.filter(pc.equal(table["repeat"], pa.scalar(0))).to_pylist()
    last = {row["task_id"]: row for row in sorted(rows, key=lambda row: row["attempt"])}
    return {key: row["reason"] for key, row in last.items() if not row["node_id"]}


def make_unmeasured(
    attempt: Attempt, status: Status, reason: str, log_tail: str, node: Node | None
) -> Measurement:
    """Make the measurement of an attempt that never reached a worker."""
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
        price=price_task(attempt.task, node) if node else None,
    )


def list_rows(plan: Plan, left_out: Collection[Attempt] = ()) -> dict[Identity, str]:
    """List the expected rows, with their labels: those of the plan without left_out."""
    labels = {
        (placement.task.key, placement.repeat): placement.task.label
        for placement in plan.placements
    }
    labels |= {(entry.task.key, 0): entry.task.label for entry in plan.unplaceable}
    for attempt in left_out:
        labels.pop((attempt.task.key, attempt.repeat), None)
    return labels


def find_missing_rows(
    expected: Mapping[Identity, str], store: Store, sweep_id: str
) -> tuple[str, ...]:
    """List the labels of expected rows that are not on disk.

    A results folder that is moved or deleted during a sweep is created anew by the next row, and
    nothing fails: only the rows before it are elsewhere.
    """
    rows = store.read("tasks", sweep_id, ("task_id", "repeat"))
    stored = set(zip(rows["task_id"].to_pylist(), rows["repeat"].to_pylist(), strict=True))
    return tuple(label for identity, label in expected.items() if identity not in stored)


def describe_missing_rows(labels: Sequence[str], total: int, place: str, resume: str) -> str:
    """Name the missing rows, and the command that measures them again."""
    few = ", ".join(dict.fromkeys(labels[:MOST_NAMED]))
    rest = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return (
        f"{place}: {len(labels)} of {total} runs have no row: {few}{rest}. Was the folder moved or "
        "deleted during the sweep? Earlier rows are where it was moved to. "
        f"Measure these again with: {resume}"
    )
