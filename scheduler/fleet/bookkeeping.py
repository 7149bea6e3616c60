"""What of a plan is still to do, and rows for what never reaches a worker."""

import time

from velodrome.agents.execution import rerun_command
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.plans.expectations import Expectations
from velodrome.scheduler.plans.planning import Plan
from velodrome.scheduler.results.store import Store


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
            placement.home,
            placement.course,
            order,
        )
        for order, placement in enumerate(plan.placements)
        if (placement.task.key, placement.repeat) not in done
    )


def record_unplaceable(plan: Plan, store: Store, sweep_id: str, expectations: Expectations) -> None:
    """A row for every task that fits nowhere, with the condition that failed."""
    done = store.finished(sweep_id)
    new = [entry for entry in plan.unplaceable if (entry.task.key, 0) not in done]
    rows = [
        (
            refused(Attempt(entry.task, 0, ""), entry.status, entry.reason, "", None),
            expectations.of(entry.task),
        )
        for entry in new
    ]
    store.put_all(sweep_id, rows)


def refused(
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
