"""Progress display of a running sweep: a live line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from velodrome.adapters.protocol import Phase, Timed
from velodrome.agents.execution import Note
from velodrome.agents.measurement import Measurement
from velodrome.agents.safe_text import sanitize_line, strip_controls
from velodrome.agents.task import Task
from velodrome.scheduler.fleet import attempt_events as events
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.fleet.event_messages import (
    describe_finished,
    describe_fleet_event,
    describe_waiting,
)
from velodrome.scheduler.fleet.remaining_time import Eta
from velodrome.scheduler.plans.durations import BY_ARITHMETIC, DurationEstimates
from velodrome.scheduler.reports.cell_times import format_duration

LONGEST = 1000


class ProgressDisplay(Protocol):
    """A display of the events of a sweep."""

    def note(self, text: str) -> None:
        """Show a message that concerns no attempt: Ray starts, an environment is built."""

    def show_event(self, event: object) -> None:
        """Show an event; events come in the order in which they happen."""

    def expect(self, tasks: Sequence[Task]) -> None:
        """Add runs to the total."""


@contextmanager
def show_progress(
    console: Console,
    total: int,
    tasks: Sequence[Task],
    *,
    hosts: bool,
    durations: DurationEstimates = BY_ARITHMETIC,
) -> Iterator[ProgressDisplay]:
    """Yield a display for a sweep of `total` runs, of which those of `tasks` are still to do.

    hosts: name the host of each measurement.
    """
    eta = Eta(tasks, durations)
    if console.is_terminal:
        with _make_bar(console) as progress:
            yield LiveProgress(progress, total, len(tasks), eta, hosts=hosts)
    else:
        yield LineProgress(console, total, len(tasks), eta, hosts=hosts)


class LineProgress:
    """Prints a line per message and per finished attempt: for log files."""

    def __init__(self, console: Console, total: int, left: int, eta: Eta, *, hosts: bool) -> None:
        self._console, self._total, self._hosts = console, total, hosts
        self._done = total - left
        self._eta = eta
        self._waits = RepeatLimit()

    def note(self, text: str) -> None:
        self._print(text)

    def expect(self, tasks: Sequence[Task]) -> None:
        self._total += len(tasks)
        self._eta.expect(tasks)

    def show_event(self, event: object) -> None:
        if isinstance(event, events.Started):
            self._eta.start()
        elif isinstance(event, events.Ended | events.NoEnvironment | events.Lost) and (
            text := describe_finished(event, hosts=self._hosts)
        ):
            self._done += 1
            self._eta.finish(event.attempt.task, _find_measurement(event))
            left = self._eta.format_left()
            suffix = f"  ({left} left)" if left else ""
            self._print(f"[{self._done}/{self._total}] {text}{suffix}")
        elif isinstance(event, events.AttemptReport) and isinstance(event.report, Note):
            self._print(f"    {event.report.text}")
        elif isinstance(event, events.Preparing):
            self._print(f"    {event.hostname}: {event.text}")
        elif isinstance(event, events.Waiting):
            if self._waits.is_time():
                self._print(describe_waiting(event))
        elif text := describe_fleet_event(event):
            self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(Text(_to_one_line(text)), soft_wrap=True)


class LiveProgress:
    """Shows one bar.

    N of N, current task and phase, time left; finished attempts scroll above it.
    """

    def __init__(self, progress: Progress, total: int, left: int, eta: Eta, *, hosts: bool) -> None:
        self._progress, self._hosts, self._total = progress, hosts, total
        self._eta = eta
        done = total - left
        self._bar: TaskID = progress.add_task("starting", total=total, completed=done, left="")

    def expect(self, tasks: Sequence[Task]) -> None:
        self._total += len(tasks)
        self._eta.expect(tasks)
        self._progress.update(self._bar, total=self._total)

    def note(self, text: str) -> None:
        self._progress.update(self._bar, description=_shorten(text))

    def show_event(self, event: object) -> None:
        if isinstance(event, events.Started):
            self._eta.start()
            self.note(event.attempt.task.label)
        elif isinstance(event, events.AttemptReport):
            self._show_report(event.attempt, event.report)
        elif isinstance(event, events.Ended | events.NoEnvironment | events.Lost) and (
            text := describe_finished(event, hosts=self._hosts)
        ):
            self._eta.finish(event.attempt.task, _find_measurement(event))
            self._print(text)
            left = self._eta.format_left()
            self._progress.update(self._bar, advance=1, left=f"{left} left" if left else "")
        elif isinstance(event, events.Preparing):
            self.note(f"{event.hostname}: {event.text}")
        elif isinstance(event, events.Waiting):
            self.note(describe_waiting(event))
        elif text := describe_fleet_event(event):
            self._print(text)

    def _print(self, text: str) -> None:
        self._progress.console.print(Text(_to_one_line(text)))

    def _show_report(self, attempt: Attempt, report: object) -> None:
        if isinstance(report, Phase):
            self.note(f"{attempt.task.label}: {report.name}")
        elif isinstance(report, Timed):
            self.note(f"{attempt.task.label}: {report.phase} {format_duration(report.median_ns)}")
        elif isinstance(report, Note):
            self.note(f"{attempt.task.label}: {report.text}")


class RepeatLimit:
    """Limits how often a repeated message is shown."""

    def __init__(self, every_s: float = 30.0) -> None:
        self._every_s = every_s
        self._shown_s = -every_s

    def is_time(self) -> bool:
        if time.monotonic() - self._shown_s < self._every_s:
            return False
        self._shown_s = time.monotonic()
        return True


def _make_bar(console: Console) -> Progress:
    return Progress(
        MofNCompleteColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[left]}", style="dim"),
        console=console,
        refresh_per_second=4,  # it shares the machine with what is measured
        transient=True,
    )


def _find_measurement(
    event: events.Ended | events.NoEnvironment | events.Lost,
) -> Measurement | None:
    return event.measurement if isinstance(event, events.Ended) else None


def _to_one_line(text: str) -> str:
    """Keep spaces but no line breaks: the text may hold a node's words."""
    return strip_controls(" ".join(text.splitlines()))[:LONGEST]


def _shorten(text: str) -> str:
    return sanitize_line(text, 100)
