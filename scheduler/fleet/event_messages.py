"""Messages for the events of a sweep, a line each."""

from velodrome.agents.measurement import Measurement
from velodrome.scheduler.fleet import attempt_events as events
from velodrome.scheduler.fleet.transport import Gone, Joined, Unusable
from velodrome.scheduler.reports.cell_times import format_duration


def describe_ended(measurement: Measurement, *, hosts: bool = False) -> str:
    """Describe an ended attempt in a line: its task, and its times or the reason for none."""
    where = f" on {measurement.hostname}" if hosts else ""
    label = f"{measurement.task.label}{where}"
    if not measurement.status.has_number:
        return f"✗ {label}: {measurement.status.value}: {measurement.reason}"
    mark = "✓" if measurement.status.value == "ok" else "~"
    times = [
        f"{phase} {format_duration(timed.median_ns)}" for phase, timed in measurement.times.items()
    ]
    return f"{mark} {label}: {', '.join(times)}"


def describe_finished(event: object, *, hosts: bool) -> str:
    """Describe an event that ends an attempt for this command; empty for other events."""
    if isinstance(event, events.Ended):
        return describe_ended(event.measurement, hosts=hosts)
    if isinstance(event, events.NoEnvironment):
        return f"✗ {event.attempt.task.label}: environment_failed: {event.outcome.reason}"
    if isinstance(event, events.Lost) and event.next_try is None:
        return f"! {event.attempt.task.label}: lost ({event.reason}); no tries left"
    return ""


def describe_fleet_event(event: object) -> str:
    """Describe an event that does not end an attempt; empty if there is nothing to report."""
    if isinstance(event, events.Lost) and event.next_try:
        label, tries = event.attempt.task.label, event.next_try.tries
        return f"! {label}: lost ({event.reason}); retrying, try {tries}"
    if isinstance(event, Joined):
        return f"+ {event.node.hostname} joined"
    if isinstance(event, Gone):
        return f"! {event.node.hostname} left: {event.reason}"
    if isinstance(event, Unusable):
        return f"! {event.hostname} cannot measure: {event.reason}"
    if isinstance(event, events.Blocked):
        return f"  {event.hostname} is in use by others on this cluster; waiting for it"
    if isinstance(event, events.OutOfTime):
        return f"time limit reached: {len(event.attempts)} runs left out"
    return ""


def describe_waiting(event: events.Waiting) -> str:
    number = len(event.attempts)
    runs = "1 run waits" if number == 1 else f"{number} runs wait"
    return f"{runs} for a suitable node; giving up in {event.seconds_left:.0f} s"
