"""The processes below one process: their pids, their memory, and how to kill them.

Imports almost nothing, because the supervisor imports it and must start at once.
"""

import os
import time

from velodrome.agents.sampling.kernel_files import KernelFile

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LONGEST_PAUSE_S = 0.05


def descendants(root: int) -> list[int]:
    """List all descendants. Some may be missing if the tree changes meanwhile: call again."""
    children_of = _list_children if _lists_children() else _ScannedChildren().children
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = children_of(waiting.pop())
        found += children
        waiting += children
    return found


def kill_descendants() -> int:
    """Kill all descendants of this process until none is left; return the number at first.

    This process must be a subreaper: orphans of any session then become its children.
    """
    reap()
    pids = descendants(os.getpid())
    first = len(pids)
    pause_s = 0.001
    while True:
        for pid in pids:
            kill(pid)
        if not has_children():
            return first
        time.sleep(pause_s)  # a process in an uninterruptible call takes its time
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        reap()
        pids = descendants(os.getpid())


def reap(wanted: int = 0) -> int | None:
    """Collect every child that has ended; return the status of the wanted one, if among them."""
    found = None
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return found
            if pid == wanted:
                found = status
    except ChildProcessError:
        return found


def has_children() -> bool:
    """Return True if this process has children, zombies included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except (ProcessLookupError, PermissionError):
        return


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 if it has ended."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * PAGE_BYTES if fields else 0


def proportional_bytes(pid: int) -> int:
    """Return PSS: a page that n processes share counts 1/n. Takes milliseconds per GiB."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return resident_bytes(pid)


def is_stopped(pid: int) -> bool:
    """Return True if a signal has stopped the process; not if a debugger holds it."""
    return _read_stat(str(pid))[:1] == [b"T"]


def _list_children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return []
    children: list[int] = []
    for thread in threads:
        with KernelFile(f"/proc/{pid}/task/{thread}/children") as file:
            children += map(int, (file.read_all() or b"").split())
    return children


class _ScannedChildren:
    """The children of every process, from one scan, for kernels without CONFIG_PROC_CHILDREN."""

    def __init__(self) -> None:
        self._by_parent: dict[int, list[int]] = {}
        for name in os.listdir("/proc"):  # noqa: PTH208
            fields = _read_stat(name) if name[0] < "A" else ()
            if fields:
                self._by_parent.setdefault(int(fields[1]), []).append(int(name))

    def children(self, pid: int) -> list[int]:
        return self._by_parent.get(pid, [])


def _read_stat(name: str) -> list[bytes]:
    """Return the fields from the state on; none if the process is gone."""
    return _read(f"/proc/{name}/stat").rpartition(b")")[2].split()


def _lists_children() -> bool:
    return os.access(f"/proc/self/task/{os.getpid()}/children", os.R_OK)


def _read(path: str) -> bytes:
    """Empty if the process is gone."""
    with KernelFile(path) as file:
        return file.read() or b""
