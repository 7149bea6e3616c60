"""A worker times exactly the phases that its request names."""

from typing import Any

import pytest

from velodrome.adapters.protocol import Failed
from velodrome.agents.validation.events import validate


def refusal(honest: Any, *phases: str) -> str:
    """Validate a session of forward and gradient as if these had been asked for."""
    request = honest.request._replace(phases=phases)
    (event,) = validate(honest.arrivals, request, honest.begun_ns).events
    assert isinstance(event, Failed) and event.status == "crashed"
    return event.reason


def test_a_session_with_the_phases_of_its_request_is_valid(honest: Any) -> None:
    events = validate(honest.arrivals, honest.request, honest.begun_ns).events
    assert events == tuple(arrival.event for arrival in honest.arrivals)


def test_the_first_call_of_a_phase_that_was_not_requested_is_refused(honest: Any) -> None:
    assert "`first_call of gradient` came instead of" in refusal(honest, "forward")


@pytest.mark.parametrize("phase", ["inference", "update", "step"])
def test_a_requested_phase_that_is_missing_is_refused(honest: Any, phase: str) -> None:
    reason = refusal(honest, "forward", "gradient", phase)
    assert f"came instead of `first_call of {phase}`" in reason
