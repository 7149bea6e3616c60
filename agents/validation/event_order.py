"""The order of a session's events, by the action of its request."""

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
    Phase,
    Request,
    Sampled,
    Timed,
    Verified,
)
from velodrome.agents.validation.arrivals import ProtocolViolation, name_of

MANY = 2**31


class Step(NamedTuple):
    """One event, or up to `most` of its kind in a row. phase: the one it names; empty: any."""

    kind: type
    phase: str = ""
    most: int = 1

    def fits(self, event: object) -> bool:
        return isinstance(event, self.kind) and self.phase in ("", phase_of(event))


def require_order(events: Sequence[object], request: Request) -> None:
    """ProtocolViolation unless they are a prefix of the order that the request implies.

    `failed` may replace what is left, at any place.
    """
    steps = steps_of(request)
    position, count = 0, 0
    for event in events:
        if isinstance(event, Failed):
            return
        if count and (count == steps[position].most or not steps[position].fits(event)):
            position, count = position + 1, 0
        if position == len(steps):
            raise ProtocolViolation(f"{_named(event)} came when all was said")
        if not steps[position].fits(event):
            due = _named_step(steps[position])
            raise ProtocolViolation(f"{_named(event)} came where {due} was due")
        count += 1


def steps_of(request: Request) -> tuple[Step, ...]:
    """Every event of a session that succeeds, in its order."""
    hello, finished = Step(Hello), Step(Finished)
    if request.action == "reference":
        return (hello, Step(Phase, "verify"), finished)
    imported = (hello, Step(Phase, "import"), Step(Imported))
    if request.action == "check":
        return (*imported, finished)
    phases = shapes.list_timed_phases(MODELS[request.model])
    proof = (
        Step(Phase, "build"),
        Step(Built),
        Step(Phase, "verify"),
        *(Step(FirstCall, phase) for phase in reversed(phases)),
        Step(Verified),
    )
    timing = (step for phase in phases for step in _timing(phase))
    return (*imported, *proof, *timing, Step(Phase, "prove"), Step(Checked, "", MANY), finished)


def phase_of(event: object) -> str:
    """The phase that it names; empty if it names none."""
    if isinstance(event, Phase):
        return event.name
    return event.phase if isinstance(event, FirstCall | Sampled | Timed | Checked) else ""


def _timing(phase: str) -> tuple[Step, ...]:
    return (
        Step(Phase, "warmup"),
        Step(Phase, phase),
        Step(Sampled, phase, MANY),
        Step(Timed, phase),
        Step(Phase, "prove"),
        Step(Checked, phase, MANY),
    )


def _named(event: object) -> str:
    return _words(type(event), phase_of(event))


def _named_step(step: Step) -> str:
    return _words(step.kind, step.phase)


def _words(kind: type, phase: str) -> str:
    """As in `sampled of forward`, `phase build`."""
    name = name_of(kind)
    between = " " if kind is Phase else " of "
    return f"`{name}{between}{phase}`" if phase else f"`{name}`"
