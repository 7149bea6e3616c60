"""Ids of sweeps, and the words that a user may type for one."""

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from velodrome.agents.environments.recipes import did_you_mean
from velodrome.scheduler.errors import ConfigError

LAST = "last"
_BEFORE_LAST = re.compile(rf"{LAST}~([0-9]{{1,9}})")


def new_sweep_id() -> str:
    """Make an id that sorts by time (UTC), such as 20261124-063012-a1b2c3d4."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


def require_sweep_id(sweep_id: str) -> str:
    """Return the id. ConfigError if it is not a sweep id: it becomes a part of paths."""
    if re.fullmatch(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}", sweep_id):
        return sweep_id
    mend = "Leave --sweep-id out: a new sweep is given one."
    raise ConfigError("command line, --sweep-id", f"'{sweep_id}' is no sweep's id", mend)


def resolve_sweep_id(text: str, sweep_ids: Sequence[str], place: str) -> str:
    """Return the sweep of an id, the beginning of an id, `last`, or `last~2`.

    `last~2` is the second before the last. sweep_ids: newest first. ConfigError unless one matches.
    """
    if not sweep_ids:
        raise ConfigError(place, "there is no sweep here", "Run one first: velodrome run SWEEP.")
    if text == LAST:
        return sweep_ids[0]
    if before := _BEFORE_LAST.fullmatch(text):
        return _find_before_last(text, int(before[1]), sweep_ids, place)
    if text in sweep_ids:
        return text
    found = [sweep_id for sweep_id in sweep_ids if text and sweep_id.startswith(text)]
    if not found:
        raise ConfigError(place, f"there is no sweep '{text}'", did_you_mean(text, sweep_ids))
    if len(found) > 1:
        raise ConfigError(place, f"'{text}' begins {', '.join(found)}", "Give more of the id.")
    return found[0]


def _find_before_last(text: str, steps: int, sweep_ids: Sequence[str], place: str) -> str:
    if steps < len(sweep_ids):
        return sweep_ids[steps]
    total = f"{len(sweep_ids)} sweep{'s' if len(sweep_ids) != 1 else ''}"
    problem = f"there is no '{text}': {total} in all"
    raise ConfigError(place, problem, f"The oldest is {LAST}~{len(sweep_ids) - 1}.")
