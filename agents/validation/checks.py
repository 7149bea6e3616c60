"""The rule that every check of every timed phase appears exactly once and none has failed."""

from collections.abc import Sequence

from velodrome.adapters.protocol import CHECKS, FAILED, Checked, Finished
from velodrome.agents.validation.agent_clock import NAME
from velodrome.agents.validation.arrivals import ProtocolViolation

OF_WORKERS = tuple(name for name in CHECKS if name != NAME)


def require_checks(events: Sequence[object], phases: Sequence[str]) -> None:
    """Raise ProtocolViolation for a duplicate, missing or failed check, or one of the agent's."""
    found: dict[tuple[str, str], str] = {}
    for event in events:
        if not isinstance(event, Checked):
            continue
        what = (event.name, event.phase)
        if event.name not in OF_WORKERS or event.phase not in phases or what in found:
            raise ProtocolViolation(f"{_named(what)} is a duplicate or not a worker's check")
        found[what] = event.outcome
    if not any(isinstance(event, Finished) for event in events):
        return
    for what in ((name, phase) for phase in phases for name in OF_WORKERS):
        if what not in found:
            raise ProtocolViolation(f"it finished without the check {_named(what)}")
        if found[what] == FAILED:
            raise ProtocolViolation(f"it finished, though {_named(what)} had failed")


def _named(what: tuple[str, str]) -> str:
    return f"{what[0]} of {what[1]}"
