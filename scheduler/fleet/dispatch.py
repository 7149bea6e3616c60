"""Dispatcher: starts queued work on nodes and passes on what they report."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from velodrome.agents.measurement import Measurement
from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempt_events import (
    AttemptReport,
    Blocked,
    Ended,
    Lost,
    NoEnvironment,
    OutOfTime,
    Preparing,
    Started,
    Waiting,
)
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
HELD_AFTER_S = 5.0  # a node that is free begins within milliseconds, with a cold Ray in two seconds
SILENT_S = 30.0  # a node that works is heard every 5 s
PATIENCE_S = 300.0

MOST_TOGETHER = 64  # the first of them waits until all are kept: some 0.2 s

OnEvent = Callable[[object], None]
Keep = Callable[[Sequence[Ended]], None]
Reports = Iterable[tuple[Work, object]]


@dataclass
class _Begun:
    """Work that was handed to a node: when it started, when its node last reported.

    is_heard: the node has started it. is_told: that it waits was reported.
    """

    started_s: float
    heard_s: float
    is_heard: bool = False
    is_told: bool = False


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
        self._tell = on_event
        self._patience_s = patience_s
        self._is_over = is_over
        self._begun: dict[Work, _Begun] = {}
        self._hostnames = {node.node_id: node.hostname for node in nodes}
        self._checked_s = 0.0
        self._stuck_since_s: float | None = None

    def run(self) -> None:
        while not self._queue.is_empty:
            for change in self._transport.changes():
                self._change(change)
            if self._is_over():
                self._stop_taking()
            self._start()
            reports = iter(self._transport.reports(POLL_S))
            while together := list(islice(reports, MOST_TOGETHER)):
                self._reports(together)
            now_s = self._transport.now_s()
            if now_s - self._checked_s >= CHECK_S:
                self._checked_s = now_s
                self._check(now_s)

    # What there is to do

    def _start(self) -> None:
        for work in self._queue.take():
            if isinstance(work, RefusedAttempt):
                self._tell(NoEnvironment(work.attempt, work.outcome))
                continue
            now_s = self._transport.now_s()
            self._begun[work] = _Begun(now_s, now_s)
            self._transport.start(work)
            if isinstance(work, Attempt):
                self._tell(Started(work))

    def _stop_taking(self) -> None:
        if withdrawn := self._queue.withdraw():
            self._tell(OutOfTime(withdrawn))
        for work in [one for one in self._begun if isinstance(one, Preparation)]:
            del self._begun[work]
            self._transport.abandon(work)

    def _check(self, now_s: float) -> None:
        for work, begun in list(self._begun.items()):
            if not begun.is_heard and not begun.is_told and now_s - begun.started_s > HELD_AFTER_S:
                begun.is_told = True
                self._tell(Blocked(work, self._hostname(work.node_id)))
            if begun.is_heard and now_s - begun.heard_s > SILENT_S:
                self._transport.abandon(work)
                self._broke(work, f"its node has not reported for {SILENT_S:.0f} s")
        parked = self._queue.parked()
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
            self._tell(Waiting(parked, left_s))
            return
        for attempt in self._queue.give_up():
            where = self._hostname(attempt.node_id)
            reason = f"neither {where} nor another suitable node joined in {self._patience_s:.0f} s"
            self._tell(Lost(attempt, reason, None))

    # What happens

    def _change(self, change: Change) -> None:
        self._tell(change)
        if isinstance(change, Joined):
            self._hostnames[change.node.node_id] = change.node.hostname
            self._queue.joined(change.node)
        elif isinstance(change, Gone):
            reason = f"{change.node.hostname} is gone: {change.reason}"
            for work in self._queue.gone(change.node.node_id):
                self._transport.abandon(work)
                self._report(work, WorkFailed(reason, of_node=True))

    def _reports(self, together: Reports) -> None:
        known = [(work, report) for work, report in together if work in self._begun]
        if self._keep and (ended := list(_ended(known))):
            self._keep(ended)
        for work, report in known:
            if work in self._begun:
                self._report(work, report)

    def _report(self, work: Work, report: object) -> None:
        begun = self._begun[work]
        was_heard = begun.is_heard
        begun.is_heard, begun.heard_s = True, self._transport.now_s()
        if isinstance(report, Heartbeat):
            return
        if isinstance(report, WorkFailed) and report.of_node and not was_heard:
            del self._begun[work]
            self._queue.put_back(work)  # it was never begun: that is no try
        elif isinstance(report, WorkFailed):
            self._broke(work, report.reason)
        elif isinstance(work, Preparation):
            self._of_preparation(work, report)
        elif isinstance(report, Measurement) and not _answers(work, report):
            self._broke(work, "its node answered with another task's measurement")
        elif isinstance(report, Measurement):
            del self._begun[work]
            self._tell(Ended(work, report))
            self._queue.finished(work)
            self._start()  # before the rows of the next one that has ended are written
        else:
            self._tell(AttemptReport(work, report))

    def _of_preparation(self, work: Preparation, report: object) -> None:
        if not isinstance(report, Prepared):
            self._tell(Preparing(self._hostname(work.node_id), getattr(report, "text", "")))
            return
        del self._begun[work]
        for outcome in report.outcomes:
            if not outcome.ready:
                text = f"{outcome.need.framework}: no environment: {outcome.reason}"
                self._tell(Preparing(self._hostname(work.node_id), text))
        self._queue.prepared(work, report.outcomes)

    def _broke(self, work: Work, reason: str) -> None:
        self._begun.pop(work, None)
        if isinstance(work, Preparation):
            self._tell(Preparing(self._hostname(work.node_id), f"interrupted: {reason}"))
            self._queue.unprepared(work, f"the build was interrupted: {reason}")
        else:
            self._tell(Lost(work, reason, self._queue.lost(work)))

    def _hostname(self, node_id: str) -> str:
        return self._hostnames.get(node_id, node_id)


def _ended(reports: Reports) -> Iterable[Ended]:
    for work, report in reports:
        if isinstance(work, Attempt) and isinstance(report, Measurement) and _answers(work, report):
            yield Ended(work, report)


def _answers(attempt: Attempt, measurement: Measurement) -> bool:
    """Check that a measurement is of this attempt: a node may measure, but not choose what."""
    asked = (attempt.task, attempt.repeat, attempt.number)
    return asked == (measurement.task, measurement.repeat, measurement.attempt)
