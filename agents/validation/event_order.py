"""The order of a session's events for each action."""

from collections.abc import Sequence
from typing import NamedTuple

from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.protocol import (
    Built,
    Checked,
    Failed,
    Finished,
    FirstCall,
    Hello,
    Imported,
    Listening,
    Phase,
    Request,
    Sampled,
    Timed,
    Verified,
)
from velodrome.agents.phases import list_requested
from velodrome.agents.validation.arrivals import ProtocolViolation, name_of

MANY = 2**31


class ExpectedEvent(NamedTuple):
    """One event, or up to `most` of its kind in a row. phase: its phase; empty: any."""

    kind: type
    phase: str = ""
    most: int = 1

    def fits(self, event: object) -> bool:
        return isinstance(event, self.kind) and self.phase in ("", phase_of(event))


def require_order(events: Sequence[object], request: Request) -> None:
    """Raise ProtocolViolation unless the events are a prefix of the request's order.

    `failed` may replace the rest at any point.
    """
    steps = expected_events(request)
    position, count = 0, 0
    for event in events:
        if isinstance(event, Failed):
            return
        if count and (count == steps[position].most or not steps[position].fits(event)):
            position, count = position + 1, 0
        if position == len(steps):
            raise ProtocolViolation(f"{_format_event(event)} came after the last event")
        if not steps[position].fits(event):
            due = _format_step(steps[position])
            raise ProtocolViolation(f"{_format_event(event)} came instead of {due}")
        count += 1


def expected_events(request: Request) -> tuple[ExpectedEvent, ...]:
    """List all events of a successful session, in order."""
    hello, finished = ExpectedEvent(Hello), ExpectedEvent(Finished)
    if request.action == "reference":
        return (hello, ExpectedEvent(Phase, "verify"), finished)
    imported = (hello, ExpectedEvent(Phase, "import"), ExpectedEvent(Imported))
    if request.action == "check":
        return (*imported, finished)
    if request.action == "follow":
        told = ExpectedEvent(Phase, "", MANY)  # by the leading node, its phases
        return (*imported, ExpectedEvent(Listening), told, finished)
    if request.action == "fit":
        own = shapes.list_timed_phases(MODELS[request.model], request.phases)
        return (*imported, *_list_fit_events(own), finished)
    phases = list_requested(request)
    proof = (
        ExpectedEvent(Phase, "build"),
        ExpectedEvent(Built),
        ExpectedEvent(Phase, "verify"),
        *(ExpectedEvent(FirstCall, phase) for phase in reversed(phases)),
        ExpectedEvent(Verified),
    )
    timing = (step for phase in phases for step in _timing(phase))
    return (
        *imported,
        *proof,
        *timing,
        ExpectedEvent(Phase, "prove"),
        ExpectedEvent(Checked, "", MANY),
        finished,
    )


def _list_fit_events(phases: Sequence[str]) -> tuple[ExpectedEvent, ...]:
    calls = (ExpectedEvent(FirstCall, phase, MANY) for phase in reversed(phases))
    built = (ExpectedEvent(Phase, "build"), ExpectedEvent(Built))
    return (*built, ExpectedEvent(Phase, "warmup"), *calls)


def phase_of(event: object) -> str:
    """Return the event's phase; empty if it has none."""
    if isinstance(event, Phase):
        return event.name
    return event.phase if isinstance(event, FirstCall | Sampled | Timed | Checked) else ""


def _timing(phase: str) -> tuple[ExpectedEvent, ...]:
    return (
        ExpectedEvent(Phase, "warmup"),
        ExpectedEvent(Phase, phase),
        ExpectedEvent(Sampled, phase, MANY),
        ExpectedEvent(Timed, phase),
        ExpectedEvent(Phase, "prove"),
        ExpectedEvent(Checked, phase, MANY),
    )


def _format_event(event: object) -> str:
    return _format(type(event), phase_of(event))


def _format_step(step: ExpectedEvent) -> str:
    return _format(step.kind, step.phase)


def _format(kind: type, phase: str) -> str:
    """Format an event, such as `sampled of forward`, `phase build`."""
    name = name_of(kind)
    between = " " if kind is Phase else " of "
    return f"`{name}{between}{phase}`" if phase else f"`{name}`"
