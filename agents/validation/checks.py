"""The rule that every check of every timed phase appears exactly once and none has failed."""

from collections.abc import Sequence

from velodrome.adapters.protocol import CHECKS, FAILED, Checked, Finished
from velodrome.agents.validation.agent_clock import NAME
from velodrome.agents.validation.arrivals import ProtocolViolation

WORKER_CHECKS = tuple(name for name in CHECKS if name != NAME)


def require_checks(events: Sequence[object], phases: Sequence[str]) -> None:
    """Raise ProtocolViolation for a duplicate, missing or failed check, or one of the agent's."""
    outcomes: dict[tuple[str, str], str] = {}
    for event in events:
        if not isinstance(event, Checked):
            continue
        check = (event.name, event.phase)
        if event.name not in WORKER_CHECKS or event.phase not in phases or check in outcomes:
            raise ProtocolViolation(f"{_text(check)} is a duplicate or not a worker's check")
        outcomes[check] = event.outcome
    if not any(isinstance(event, Finished) for event in events):
        return
    for check in ((name, phase) for phase in phases for name in WORKER_CHECKS):
        if check not in outcomes:
            raise ProtocolViolation(f"it finished without the check {_text(check)}")
        if outcomes[check] == FAILED:
            raise ProtocolViolation(f"it finished although {_text(check)} failed")


def _text(check: tuple[str, str]) -> str:
    return f"{check[0]} of {check[1]}"
