"""Dispatcher: starts queued work on nodes and passes on what they report."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from velodrome.agents.measurement import Measurement
from velodrome.agents.node import Node
from velodrome.scheduler.fleet import attempt_events as events
from velodrome.scheduler.fleet.attempts import Attempt, Preparation, Prepared, RefusedAttempt, Work
from velodrome.scheduler.fleet.transport import (
    Change,
    Gone,
    Heartbeat,
    Joined,
    Transport,
    WorkFailed,
)
from velodrome.scheduler.fleet.work_queue import WorkQueue

POLL_S = 0.2
CHECK_S = 1.0
BLOCKED_AFTER_S = 5.0  # a free node starts in milliseconds, with a cold Ray in two seconds
SILENT_S = 30.0  # a working node reports every 5 s
PATIENCE_S = 300.0

MOST_TOGETHER = 64  # the first one waits until all are stored: about 0.2 s

OnEvent = Callable[[object], None]
Keep = Callable[[Sequence[events.Ended]], None]
Reports = Iterable[tuple[Work, object]]


@dataclass
class _StartedWork:
    """Work that was handed to a node: when it started, when its node last reported.

    has_reported: the node has started it. is_blocked: Blocked was sent for it.
    """

    started_s: float
    reported_s: float
    has_reported: bool = False
    is_blocked: bool = False


class Dispatcher:
    """Runs a work queue until it is empty.

    on_event gets the events of velodrome.scheduler.fleet.attempt_events. A node's next attempt
    starts only after on_event has returned from Ended, so that a finished task's rows are on disk
    first. keep, if given, gets all that ended since its last call together, before on_event gets
    each: that is cheaper when many end at once. patience_s: how long to wait for a node when
    nothing can run. nodes: the initial ones. is_over: returns True when nothing more may start;
    running attempts then finish, builds of environments are abandoned.
    """

    def __init__(
        self,
        queue: WorkQueue,
        transport: Transport,
        on_event: OnEvent,
        patience_s: float = PATIENCE_S,
        nodes: Iterable[Node] = (),
        is_over: Callable[[], bool] = lambda: False,
        keep: Keep | None = None,
    ) -> None:
        self._queue = queue
        self._keep = keep
        self._transport = transport
        self._on_event = on_event
        self._patience_s = patience_s
        self._is_over = is_over
        self._started: dict[Work, _StartedWork] = {}
        self._hostnames = {node.node_id: node.hostname for node in nodes}
        self._checked_s = 0.0
        self._stuck_since_s: float | None = None

    def run(self) -> None:
        while not self._queue.is_empty:
            for change in self._transport.list_changes():
                self._apply_change(change)
            if self._is_over():
                self._stop_taking()
            self._start()
            reports = iter(self._transport.wait_for_reports(POLL_S))
            while together := list(islice(reports, MOST_TOGETHER)):
                self._handle_reports(together)
            now_s = self._transport.read_clock_s()
            if now_s - self._checked_s >= CHECK_S:
                self._checked_s = now_s
                self._check(now_s)

    # Starting work

    def _start(self) -> None:
        for work in self._queue.take():
            if isinstance(work, RefusedAttempt):
                self._on_event(events.NoEnvironment(work.attempt, work.outcome))
                continue
            now_s = self._transport.read_clock_s()
            self._started[work] = _StartedWork(now_s, now_s)
            self._transport.start(work)
            if isinstance(work, Attempt):
                self._on_event(events.Started(work))

    def _stop_taking(self) -> None:
        if withdrawn := self._queue.withdraw():
            self._on_event(events.OutOfTime(withdrawn))
        for work in [each for each in self._started if isinstance(each, Preparation)]:
            del self._started[work]
            self._transport.abandon(work)

    def _check(self, now_s: float) -> None:
        for work, started in list(self._started.items()):
            if (
                not started.has_reported
                and not started.is_blocked
                and now_s - started.started_s > BLOCKED_AFTER_S
            ):
                started.is_blocked = True
                self._on_event(events.Blocked(work, self._host(work.node_id)))
            if started.has_reported and now_s - started.reported_s > SILENT_S:
                self._transport.abandon(work)
                self._handle_failure(work, f"its node has not reported for {SILENT_S:.0f} s")
        parked = self._queue.list_parked()
        self._transport.want(parked)
        if self._queue.is_waiting_for_nodes:
            self._wait(parked, now_s)
        else:
            self._stuck_since_s = None

    def _wait(self, parked: tuple[Attempt, ...], now_s: float) -> None:
        if self._stuck_since_s is None:
            self._stuck_since_s = now_s
        left_s = self._patience_s - (now_s - self._stuck_since_s)
        if left_s > 0:
            self._on_event(events.Waiting(parked, left_s))
            return
        for attempt in self._queue.give_up():
            where = self._host(attempt.node_id)
            reason = f"neither {where} nor another suitable node joined in {self._patience_s:.0f} s"
            self._on_event(events.Lost(attempt, reason, None))

    # Handling reports

    def _apply_change(self, change: Change) -> None:
        self._on_event(change)
        if isinstance(change, Joined):
            self._hostnames[change.node.node_id] = change.node.hostname
            self._queue.add_node(change.node)
        elif isinstance(change, Gone):
            reason = f"{change.node.hostname} left: {change.reason}"
            for work in self._queue.remove_node(change.node.node_id):
                self._transport.abandon(work)
                self._handle_report(work, WorkFailed(reason, of_node=True))

    def _handle_reports(self, together: Reports) -> None:
        current = [(work, report) for work, report in together if work in self._started]
        if self._keep and (ended := list(_select_ended(current))):
            self._keep(ended)
        for work, report in current:
            if work in self._started:
                self._handle_report(work, report)

    def _handle_report(self, work: Work, report: object) -> None:
        started = self._started[work]
        had_reported = started.has_reported
        started.has_reported, started.reported_s = True, self._transport.read_clock_s()
        if isinstance(report, Heartbeat):
            return
        if isinstance(report, WorkFailed) and report.of_node and not had_reported:
            del self._started[work]
            self._queue.put_back(work)  # it never started: this does not count as a try
        elif isinstance(report, WorkFailed):
            self._handle_failure(work, report.reason)
        elif isinstance(work, Preparation):
            self._handle_preparation(work, report)
        elif isinstance(report, Measurement) and not _is_answer(work, report):
            self._handle_failure(work, "its node returned the measurement of another task")
        elif isinstance(report, Measurement):
            del self._started[work]
            self._on_event(events.Ended(work, report))
            self._queue.record_finished(work)
            self._start()  # before the rows of the next report are written
        else:
            self._on_event(events.AttemptReport(work, report))

    def _handle_preparation(self, work: Preparation, report: object) -> None:
        if not isinstance(report, Prepared):
            self._on_event(events.Preparing(self._host(work.node_id), getattr(report, "text", "")))
            return
        del self._started[work]
        for outcome in report.outcomes:
            if not outcome.ready:
                text = f"{outcome.need.framework}: no environment: {outcome.reason}"
                self._on_event(events.Preparing(self._host(work.node_id), text))
        self._queue.record_prepared(work, report.outcomes)

    def _handle_failure(self, work: Work, reason: str) -> None:
        self._started.pop(work, None)
        if isinstance(work, Preparation):
            self._on_event(events.Preparing(self._host(work.node_id), f"interrupted: {reason}"))
            self._queue.record_interrupted(work, f"the build was interrupted: {reason}")
        else:
            self._on_event(events.Lost(work, reason, self._queue.record_lost(work)))

    def _host(self, node_id: str) -> str:
        return self._hostnames.get(node_id, node_id)


def _select_ended(reports: Reports) -> Iterable[events.Ended]:
    for work, report in reports:
        if (
            isinstance(work, Attempt)
            and isinstance(report, Measurement)
            and _is_answer(work, report)
        ):
            yield events.Ended(work, report)


def _is_answer(attempt: Attempt, measurement: Measurement) -> bool:
    """Check that a measurement is of this attempt: a node does not choose what it measures.

    Except for a batch size that it was asked to find.
    """
    task = measurement.task
    if attempt.task.batch_size_rule and task.batch_size >= 0:
        task = replace(task, batch_size=attempt.task.batch_size)
    request = (attempt.task, attempt.repeat, attempt.number)
    return request == (task, measurement.repeat, measurement.attempt)
