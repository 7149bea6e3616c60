"""Names of the processes that used most CPU beside a task while it was timed."""

from collections.abc import Sequence

from velodrome.agents.measurement import Reading
from velodrome.agents.safe_text import sanitize_line
from velodrome.agents.sampling.top_processes import TopProcess

MOST = 4
LEAST_SHARE = 0.1  # of the top process' CPU time; a smaller one is no source
COMMAND_LENGTH = 15  # the kernel's limit
UNKNOWN_SOURCE = "no process that can be seen from here (it ended, or runs in another container)"


def name_interference_sources(
    readings: Sequence[Reading], *, on_task_cores: bool
) -> tuple[str, ...]:
    """Return names such as `stress-ng (pid 123)`, the top process first.

    on_task_cores: only those seen on the task's cores, or only the others. A process chooses its
    own name, so the name is sanitized. Arguments are left out: they may hold secrets.
    """
    by_pid: dict[int, list[TopProcess]] = {}
    for reading in readings:
        for process in reading.top_processes:
            by_pid.setdefault(process.pid, []).append(process)
    ranks = {
        pid: _rank(scans)
        for pid, scans in by_pid.items()
        if any(process.on_task_cores for process in scans) is on_task_cores
    }
    most = max((percent for _, percent in ranks.values()), default=0.0)
    sources = [pid for pid in ranks if ranks[pid][1] >= LEAST_SHARE * most]
    sources.sort(key=ranks.__getitem__, reverse=True)
    rest = (f"{len(sources) - MOST} more",) if len(sources) > MOST else ()
    return tuple(_name(by_pid[pid][-1]) for pid in sources[:MOST]) + rest


def _rank(scans: Sequence[TopProcess]) -> tuple[bool, float]:
    """Rank a process first that was running on the task's cores when it was read."""
    return any(process.running for process in scans), sum(process.percent for process in scans)


def _name(process: TopProcess) -> str:
    command = sanitize_line(process.command, COMMAND_LENGTH) or "nameless"
    return f"{command} (pid {process.pid})"
