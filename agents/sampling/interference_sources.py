"""Names for those who used the CPU beside a task, from what was seen while it was timed."""

from collections.abc import Sequence

from velodrome.agents.isolation.log_tail import one_line
from velodrome.agents.measurement import Reading
from velodrome.agents.sampling.top_processes import Suspect

MOST = 4
# Of what the worst did; who did less is not what disturbed.
LEAST_SHARE = 0.1
COMMAND_LENGTH = 15  # as long as the kernel lets it be
NOBODY = "nobody who can be seen from here (gone again, or in another container)"


def culprits(readings: Sequence[Reading], *, near: bool) -> tuple[str, ...]:
    """`stress-ng (pid 123)`, the worst first. near: of those seen on the task's cores.

    A command's name is what its process chose to call itself, and is made harmless here. Its
    arguments are not told: they may hold what is secret.
    """
    seen: dict[int, list[Suspect]] = {}
    for reading in readings:
        for suspect in reading.suspects:
            seen.setdefault(suspect.pid, []).append(suspect)
    found = {pid: looks for pid, looks in seen.items() if any(s.near for s in looks) is near}
    guilt = {pid: _guilt(looks) for pid, looks in found.items()}
    order = sorted(found, key=guilt.__getitem__, reverse=True)
    worst = max((percent for _, percent in guilt.values()), default=0.0)
    guilty = [pid for pid in order if guilt[pid][1] >= LEAST_SHARE * worst]
    more = (f"{len(guilty) - MOST} more",) if len(guilty) > MOST else ()
    return tuple(_name(found[pid][-1]) for pid in guilty[:MOST]) + more


def _guilt(looks: Sequence[Suspect]) -> tuple[bool, float]:
    """Who was caught running on the task's cores comes first."""
    return any(look.running for look in looks), sum(look.percent for look in looks)


def _name(suspect: Suspect) -> str:
    command = one_line(suspect.command, COMMAND_LENGTH) or "nameless"
    return f"{command} (pid {suspect.pid})"
