"""Validation of all events of a worker: the events, or a failure in their place."""

from collections.abc import Sequence
from dataclasses import dataclass

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
from velodrome.adapters.tolerances import PredictedErrors
from velodrome.agents.phases import list_requested
from velodrome.agents.validation.agent_clock import NAME, check_agent_clock
from velodrome.agents.validation.arrivals import Arrival, ProofRejected, ProtocolViolation
from velodrome.agents.validation.checks import require_checks
from velodrome.agents.validation.event_order import require_order
from velodrome.agents.validation.proof import replace_tolerances, require_known, require_proof
from velodrome.agents.validation.samples import require_times, timed_phases
from velodrome.agents.validation.timestamps import require_timestamps

NONE_PREDICTED = PredictedErrors()


@dataclass(frozen=True)
class Validated:
    """The valid events; if validation failed, some of them and a `failed` with the reason.

    checks: the agent's own.
    """

    events: tuple[object, ...]
    checks: tuple[Checked, ...] = ()


def validate(
    arrivals: Sequence[Arrival],
    request: Request,
    started_ns: int,
    predicted: PredictedErrors = NONE_PREDICTED,
) -> Validated:
    """Check the events against the request, each other and the agent's clock.

    started_ns: CLOCK_MONOTONIC before the worker started. predicted: errors that the reference
    predicts, from which each gradient's tolerance is computed again. A protocol violation is a
    crash, and no event is kept. A rejected proof or a failed clock check is a disagreement: errors
    or samples are kept as evidence, times are not.
    """
    arrivals = _with_tolerances(arrivals, request, predicted)
    events = tuple(arrival.event for arrival in arrivals)
    try:
        _require_version(events)
        require_order(events, request)
        require_timestamps(arrivals, started_ns)
        names = list_requested(request)
        require_checks(events, names)
        phases = timed_phases(arrivals, names)
        for phase in phases:
            require_times(phase, request.timing)
        clocked = (check_agent_clock(phase, request.all_devices) for phase in phases)
        checks = tuple(check for check in clocked if check)
        for event in events:
            if isinstance(event, Verified):
                require_proof(event, request, predicted)
            if isinstance(event, Failed) and event.parameters:
                require_known(event, request, predicted)
    except ProtocolViolation as error:
        reason = f"the worker broke the protocol: {error}"
        return Validated((_make_failed("crashed", reason, arrivals),))
    except ProofRejected as error:
        return Validated(_replace_proof(arrivals, f"its proof is invalid: {error}"))
    failed = [check for check in checks if check.outcome == FAILED]
    if failed:
        reason = f"{NAME} of {failed[0].phase} failed: {failed[0].reason}"
        return Validated(
            (*_without_times(events), _make_failed("disagreed", reason, arrivals)), checks
        )
    return Validated(events, checks)


def _with_tolerances(
    arrivals: Sequence[Arrival], request: Request, predicted: PredictedErrors
) -> tuple[Arrival, ...]:
    found = []
    for arrival in arrivals:
        event = arrival.event
        if isinstance(event, Verified | Failed) and event.parameters:
            own = replace_tolerances(event.parameters, request, predicted)
            arrival = arrival._replace(event=event._replace(parameters=own))
        found.append(arrival)
    return tuple(found)


def _require_version(events: Sequence[object]) -> None:
    for event in events:
        if isinstance(event, Hello) and event.protocol != VERSION:
            raise ProtocolViolation(f"its version is {event.protocol}, not {VERSION}")


def _replace_proof(arrivals: Sequence[Arrival], reason: str) -> tuple[object, ...]:
    """Return the events before the proof, and a failure with the proof's errors."""
    before: list[object] = []
    for arrival in arrivals:
        if isinstance(arrival.event, Verified):
            event = arrival.event
            failed = _make_failed("disagreed", reason, arrivals)
            failed = failed._replace(parameters=event.parameters, loss_error=event.loss_error)
            return (*before, failed)
        before.append(arrival.event)
    return tuple(before)


def _without_times(events: Sequence[object]) -> tuple[object, ...]:
    return tuple(event for event in events if not isinstance(event, Timed | Finished))


def _make_failed(status: str, reason: str, arrivals: Sequence[Arrival]) -> Failed:
    return Failed(status, reason, "", arrivals[-1].by_ns if arrivals else 0)
