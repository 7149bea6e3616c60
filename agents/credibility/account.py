"""What of a worker's events the agent believes: all of them, or a failure in their place."""

from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.protocol import (
    FAILED,
    VERSION,
    Checked,
    Failed,
    Finished,
    Hello,
    Request,
    Timed,
    Verified,
)
from velodrome.agents.credibility.checks import require_checks
from velodrome.agents.credibility.clock import require_clock
from velodrome.agents.credibility.heard import Contradiction, Heard, Unproven
from velodrome.agents.credibility.order import require_order
from velodrome.agents.credibility.proof import require_known, require_proof
from velodrome.agents.credibility.times import require_times, timed_phases
from velodrome.agents.credibility.witness import NAME, witness


@dataclass(frozen=True)
class Account:
    """events: as they came; or those before what cannot be believed, and a `failed` that says why.

    checks are the agent's own.
    """

    events: tuple[object, ...]
    checks: tuple[Checked, ...] = ()


def weigh(heard: Sequence[Heard], request: Request, begun_ns: int) -> Account:
    """Hold what was heard against the request. begun_ns: CLOCK_MONOTONIC before it was started.

    A worker that contradicts itself has crashed, and nothing that it said is kept. One whose proof
    or clock does not hold disagrees: the errors or the samples that show it are kept, no time is.
    """
    events = tuple(one.event for one in heard)
    try:
        _require_version(events)
        require_order(events, request)
        require_clock(heard, begun_ns)
        names = _timed(request)
        require_checks(events, names)
        phases = timed_phases(heard, names)
        for phase in phases:
            require_times(phase, request.timing)
        checks = tuple(filter(None, map(witness, phases)))
        for event in events:
            if isinstance(event, Verified):
                require_proof(event, request)
            if isinstance(event, Failed) and event.parameters:
                require_known(event, request)
    except Contradiction as error:
        reason = f"the worker broke the protocol: {error}"
        return Account((_failed("crashed", reason, heard),))
    except Unproven as error:
        return Account(_disproved(heard, f"its proof does not hold: {error}"))
    failed = [check for check in checks if check.outcome == FAILED]
    if failed:
        reason = f"{NAME} of {failed[0].phase} failed: {failed[0].reason}"
        return Account((*_without_times(events), _failed("disagreed", reason, heard)), checks)
    return Account(events, checks)


def _require_version(events: Sequence[object]) -> None:
    for event in events:
        if isinstance(event, Hello) and event.protocol != VERSION:
            raise Contradiction(f"it speaks version {event.protocol} of it, not {VERSION}")


def _timed(request: Request) -> tuple[str, ...]:
    """The phases that are to be timed."""
    return shapes.timed_phases(MODELS[request.model]) if request.action == "measure" else ()


def _disproved(heard: Sequence[Heard], reason: str) -> tuple[object, ...]:
    """The errors that it told stay, as those of a disagreement."""
    kept: list[object] = []
    for one in heard:
        if isinstance(one.event, Verified):
            failed = _failed("disagreed", reason, heard)
            told = one.event
            return (*kept, failed._replace(parameters=told.parameters, loss_error=told.loss_error))
        kept.append(one.event)
    return tuple(kept)


def _without_times(events: Sequence[object]) -> tuple[object, ...]:
    return tuple(event for event in events if not isinstance(event, Timed | Finished))


def _failed(status: str, reason: str, heard: Sequence[Heard]) -> Failed:
    return Failed(status, reason, "", heard[-1].by_ns if heard else 0)
