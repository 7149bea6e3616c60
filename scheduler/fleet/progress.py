"""What a running sweep shows: a live line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from velodrome.adapters.protocol import Phase, Timed
from velodrome.agents.execution import Note
from velodrome.agents.isolation.log_tail import one_line, without_controls
from velodrome.agents.measurement import Measurement
from velodrome.agents.task import Task
from velodrome.scheduler.fleet.attempt_events import (
    Ended,
    Held,
    Lost,
    NodeGone,
    NodeJoined,
    NodeUnusable,
    Preparing,
    Refused,
    Reported,
    Started,
    Waiting,
)
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.plans.durations import expected_s
from velodrome.scheduler.reports.tables import duration

LONGEST = 1000


class Watcher(Protocol):
    """Someone who is told how a sweep goes."""

    def note(self, text: str) -> None:
        """Something besides attempts: Ray starts, an environment is built."""

    def event(self, event: object) -> None:
        """Started, Reported, Ended or Lost, in the order they happen."""


@contextmanager
def watching(
    console: Console, total: int, tasks: Sequence[Task], *, hosts: bool
) -> Iterator[Watcher]:
    """A watcher for a sweep of `total` runs of which those of `tasks` are still to do.

    hosts: whether to say on which host each one was measured.
    """
    if console.is_terminal:
        with _live(console) as progress:
            yield Live(progress, total, tasks, hosts=hosts)
    else:
        yield Lines(console, total, tasks, hosts=hosts)


class Lines:
    """A line per note and per finished attempt: what a log file wants."""

    def __init__(self, console: Console, total: int, tasks: Sequence[Task], *, hosts: bool) -> None:
        self._console, self._total, self._hosts = console, total, hosts
        self._done = total - len(tasks)
        self._eta = Eta(tasks)
        self._waits = Seldom()

    def note(self, text: str) -> None:
        self._print(text)

    def event(self, event: object) -> None:
        if isinstance(event, Started):
            self._eta.started()
        elif isinstance(event, Ended | Refused | Lost) and (
            text := finished_text(event, hosts=self._hosts)
        ):
            self._done += 1
            self._eta.finished(event.attempt.task)
            left = self._eta.text()
            suffix = f"  ({left} left)" if left else ""
            self._print(f"[{self._done}/{self._total}] {text}{suffix}")
        elif isinstance(event, Reported) and isinstance(event.report, Note):
            self._print(f"    {event.report.text}")
        elif isinstance(event, Preparing):
            self._print(f"    {event.hostname}: {event.text}")
        elif isinstance(event, Waiting):
            if self._waits.is_time():
                self._print(waiting_text(event))
        elif text := fleet_text(event):
            self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(Text(_one_line(text)), soft_wrap=True)


class Live:
    """One bar: n of N, what runs and its phase, the time left; what ended stands above it."""

    def __init__(
        self, progress: Progress, total: int, tasks: Sequence[Task], *, hosts: bool
    ) -> None:
        self._progress, self._hosts = progress, hosts
        self._eta = Eta(tasks)
        done = total - len(tasks)
        self._bar: TaskID = progress.add_task("starting", total=total, completed=done, left="")

    def note(self, text: str) -> None:
        self._progress.update(self._bar, description=_plain(text))

    def event(self, event: object) -> None:
        if isinstance(event, Started):
            self._eta.started()
            self.note(event.attempt.task.label)
        elif isinstance(event, Reported):
            self._reported(event.attempt, event.report)
        elif isinstance(event, Ended | Refused | Lost) and (
            text := finished_text(event, hosts=self._hosts)
        ):
            self._eta.finished(event.attempt.task)
            self._print(text)
            left = self._eta.text()
            self._progress.update(self._bar, advance=1, left=f"{left} left" if left else "")
        elif isinstance(event, Preparing):
            self.note(f"{event.hostname}: {event.text}")
        elif isinstance(event, Waiting):
            self.note(waiting_text(event))
        elif text := fleet_text(event):
            self._print(text)

    def _print(self, text: str) -> None:
        self._progress.console.print(Text(_one_line(text)))

    def _reported(self, attempt: Attempt, report: object) -> None:
        if isinstance(report, Phase):
            self.note(f"{attempt.task.label}: {report.name}")
        elif isinstance(report, Timed):
            self.note(f"{attempt.task.label}: {report.phase} {duration(report.median_ns)}")
        elif isinstance(report, Note):
            self.note(f"{attempt.task.label}: {report.text}")


class Seldom:
    """Whether it is time to say again what goes on and on."""

    def __init__(self, every_s: float = 30.0) -> None:
        self._every_s = every_s
        self._said_s = -every_s

    def is_time(self) -> bool:
        if time.monotonic() - self._said_s < self._every_s:
            return False
        self._said_s = time.monotonic()
        return True


class Eta:
    """Time left, by how long the attempts of this run took beside what was expected of them.

    They are not alike, and those that take long come first: their number alone would tell too much.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._started_s: float | None = None
        self._done_s = 0.0  # as expected
        self._left_s = sum(map(expected_s, tasks))

    def started(self) -> None:
        """The clock starts with the first attempt; building environments tells nothing."""
        if self._started_s is None:
            self._started_s = time.monotonic()

    def finished(self, task: Task) -> None:
        self._done_s += expected_s(task)
        self._left_s -= expected_s(task)

    def text(self) -> str:
        """E.g. `2m10s`; empty before the first attempt has ended and after the last."""
        if self._started_s is None or not self._done_s or self._left_s < 1e-6:
            return ""
        each = (time.monotonic() - self._started_s) / self._done_s
        minutes, seconds = divmod(round(each * self._left_s), 60)
        return f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"


def ended_text(measurement: Measurement, *, hosts: bool = False) -> str:
    """One attempt in one line: what it was, and its times or its reason."""
    where = f" on {measurement.hostname}" if hosts else ""
    label = f"{measurement.task.label}{where}"
    if not measurement.status.has_number:
        return f"✗ {label}: {measurement.status.value}: {measurement.reason}"
    mark = "✓" if measurement.status.value == "ok" else "~"
    times = [
        f"{name} {duration(timed.median_ns)}"
        for name, timed in (("forward", measurement.forward), ("gradient", measurement.gradient))
        if timed is not None
    ]
    return f"{mark} {label}: {', '.join(times)}"


def finished_text(event: object, *, hosts: bool) -> str:
    """Of an event with which an attempt needs no further try in this run; empty for others."""
    if isinstance(event, Ended):
        return ended_text(event.measurement, hosts=hosts)
    if isinstance(event, Refused):
        return f"✗ {event.attempt.task.label}: environment_failed: {event.outcome.reason}"
    if isinstance(event, Lost) and event.again is None:
        return f"! {event.attempt.task.label}: lost ({event.reason}); no try is left"
    return ""


def fleet_text(event: object) -> str:
    """Of an event that is not an attempt's end, in a line; empty if there is nothing to say."""
    if isinstance(event, Lost) and event.again:
        return (
            f"! {event.attempt.task.label}: lost ({event.reason}); try {event.again.tries} follows"
        )
    if isinstance(event, NodeJoined):
        return f"+ {event.node.hostname} is there"
    if isinstance(event, NodeGone):
        return f"! {event.node.hostname} is gone: {event.reason}"
    if isinstance(event, NodeUnusable):
        return f"! {event.hostname} cannot be measured on: {event.reason}"
    if isinstance(event, Held):
        return f"  {event.hostname} is in use by others on this cluster; waiting for it"
    return ""


def waiting_text(event: Waiting) -> str:
    number = len(event.attempts)
    runs = "1 run waits" if number == 1 else f"{number} runs wait"
    return f"{runs} for a node that fits; given up in {event.seconds_left:.0f} s"


def _live(console: Console) -> Progress:
    return Progress(
        MofNCompleteColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[left]}", style="dim"),
        console=console,
        refresh_per_second=4,  # it shares the machine with what is measured
        transient=True,
    )


def _one_line(text: str) -> str:
    """Its spaces as they are, but no line of its own making: it may hold words of a node."""
    return without_controls(" ".join(text.splitlines()))[:LONGEST]


def _plain(text: str) -> str:
    return one_line(text, 100)
