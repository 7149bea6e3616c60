"""The processes on a GPU, split into the task's and all others.

The driver uses the host's PIDs, or shows a container only its own processes. In a container some
drivers list none, and some state 0 bytes for those they list, which means nothing either
(open-gpu-kernel-modules, pull request 614).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from velodrome.agents.measurement import GpuProcess
from velodrome.agents.sampling.kernel_files import KernelFile
from velodrome.agents.sampling.process_counters import parse_stat

MAX_ANCESTORS = 64

Used = Mapping[int, int | None]  # bytes by PID; None: unknown


@dataclass(frozen=True)
class GpuShares:
    """The task's processes together (own_bytes), and all others. None: unknown."""

    own_bytes: int | None = None
    other_processes: tuple[GpuProcess, ...] | None = None


def split_processes(
    compute: Used | None, graphics: Used | None, pids: Collection[int], *, sees_all: bool
) -> GpuShares:
    """Split a GPU's processes. compute, graphics: its processes, None if not stated.

    Processes that only draw, as a display's, do not count: each workstation has one. sees_all: PIDs
    are the host's, so that no process is hidden.
    """
    if compute is None and graphics is None:
        return GpuShares()
    # A process that does both is in both lists, with all its memory in each.
    used = {**(graphics or {}), **(compute or {})}
    own = {pid: size for pid, size in used.items() if _descends_from(pid, pids)}
    others = None if compute is None else tuple(pid for pid in compute if pid not in own)
    if not sees_all:  # others are certain only if the driver's PIDs are those of this namespace
        others = others or None if own else None
    return GpuShares(
        own_bytes=_sum(own, sees_all=sees_all),
        other_processes=None
        if others is None
        else tuple(_read_process(pid, used[pid]) for pid in others),
    )


def _sum(own: Used, *, sees_all: bool) -> int | None:
    known = [size for size in own.values() if size is not None]
    if len(known) < len(own):
        return None
    return sum(known) or (0 if sees_all else None)


def _descends_from(pid: int, pids: Collection[int]) -> bool:
    """Return True for a descendant; the tree itself is listed less often than this."""
    for _ in range(MAX_ANCESTORS):
        if pid in pids:
            return True
        with KernelFile(f"/proc/{pid}/stat") as file:
            text = file.read()
        if not text:
            return False
        pid = parse_stat(text).parent
    return False


def _read_process(pid: int, used: int | None) -> GpuProcess:
    with KernelFile(f"/proc/{pid}/comm") as file:
        name = (file.read() or b"").decode(errors="replace").strip()
    return GpuProcess(pid, name, used)
