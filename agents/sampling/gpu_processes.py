"""Which processes on a GPU are the task's, and which are not.

The driver counts in the host's PIDs, or tells a container its own processes only. In there some
drivers find nobody, and some tell 0 bytes of those they find, which says nothing either
(open-gpu-kernel-modules, pull request 614).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from velodrome.agents.measurement import GpuProcess
from velodrome.agents.sampling.kernel_files import KernelFile
from velodrome.agents.sampling.process_counters import parse_stat

MOST_ANCESTORS = 64

Used = Mapping[int, int | None]  # bytes by PID; None: not told of this one


@dataclass(frozen=True)
class Shares:
    """own_bytes: of the task's processes together. None: it cannot be told."""

    own_bytes: int | None = None
    foreign: tuple[GpuProcess, ...] | None = None


def shares(
    compute: Used | None, drawing: Used | None, pids: Collection[int], *, sees_all: bool
) -> Shares:
    """compute, drawing: who does what there, None if the driver does not say.

    A process that draws and does not compute, as a display's, is no one's business here: each
    workstation has one. sees_all: whether PIDs are the host's, so that nobody is hidden.
    """
    if compute is None and drawing is None:
        return Shares()
    # A process that does both stands in both, with all its memory in each.
    used = {**(drawing or {}), **(compute or {})}
    own = {pid: size for pid, size in used.items() if _is_of(pid, pids)}
    others = None if compute is None else tuple(pid for pid in compute if pid not in own)
    if not sees_all:  # then those alone are surely others of whom we know that the PIDs are ours
        others = others or None if own else None
    return Shares(
        own_bytes=_sum(own, sees_all=sees_all),
        foreign=None if others is None else tuple(_process(pid, used[pid]) for pid in others),
    )


def _sum(own: Used, *, sees_all: bool) -> int | None:
    known = [size for size in own.values() if size is not None]
    if len(known) < len(own):
        return None
    return sum(known) or (0 if sees_all else None)


def _is_of(pid: int, pids: Collection[int]) -> bool:
    """Whether it is one of them or descends from one: the tree is walked less often than this."""
    for _ in range(MOST_ANCESTORS):
        if pid in pids:
            return True
        with KernelFile(f"/proc/{pid}/stat") as file:
            text = file.read()
        if not text:
            return False
        pid = parse_stat(text).parent
    return False


def _process(pid: int, used: int | None) -> GpuProcess:
    with KernelFile(f"/proc/{pid}/comm") as file:
        name = (file.read() or b"").decode(errors="replace").strip()
    return GpuProcess(pid, name, used)
