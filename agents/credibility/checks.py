"""Whether a worker has told of every check of every timed phase, once, and kept to what it said."""

from collections.abc import Sequence

from velodrome.adapters.protocol import CHECKS, FAILED, Checked, Finished
from velodrome.agents.credibility.heard import Contradiction
from velodrome.agents.credibility.witness import NAME

OF_WORKERS = tuple(name for name in CHECKS if name != NAME)


def require_checks(events: Sequence[object], phases: Sequence[str]) -> None:
    """Contradiction if one comes twice or is the agent's; or if it finished with one missing."""
    found: dict[tuple[str, str], str] = {}
    for event in events:
        if not isinstance(event, Checked):
            continue
        what = (event.name, event.phase)
        if event.name not in OF_WORKERS or event.phase not in phases or what in found:
            raise Contradiction(f"a check that is not its to tell, or came before: {_named(what)}")
        found[what] = event.outcome
    if not any(isinstance(event, Finished) for event in events):
        return
    for what in ((name, phase) for phase in phases for name in OF_WORKERS):
        if what not in found:
            raise Contradiction(f"it finished without the check {_named(what)}")
        if found[what] == FAILED:
            raise Contradiction(f"it finished, though {_named(what)} had failed")


def _named(what: tuple[str, str]) -> str:
    return f"{what[0]} of {what[1]}"
