"""Other users of this machine's cores: holders of core locks, and Ray's processes."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from velodrome.agents.cores.lock_files import DEFAULT, VARIABLE
from velodrome.agents.cores.lock_holders import describe_holders
from velodrome.agents.doctor.finding import DoctorFinding, Subject, join_names
from velodrome.agents.doctor.proc_sys_files import Kernel

LOCKS = Subject("locked cores", "a task waits until the process that holds its cores or GPUs ends")
RAY = Subject("Ray workers", "Ray does not limit the cores that its own tasks use")
# Ray renames workers to the task that they run. Idle workers and Ray's own agents do not count.
WORKER = "ray::"
WAITING = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
NODE = "raylet"


def lock_paths(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """List existing lock files of cores and GPUs; nothing is created."""
    folder = Path(environ.get(VARIABLE) or DEFAULT)
    return tuple(sorted([*folder.glob("core-*.lock"), *folder.glob("gpu-*.lock")]))


def check_core_locks(kernel: Kernel, paths: Iterable[Path]) -> DoctorFinding:
    """Check for held locks in /proc/locks: trying a lock would hold it for a moment."""
    table = kernel.text("proc/locks")
    if table is None and not (kernel.root / "proc/locks").exists():
        return LOCKS.unknown("the kernel does not state it")
    inodes = _locked_inodes(table or "")
    locks = [path for path in paths if _inode(path) in inodes]
    if not locks:
        return LOCKS.fine("none")
    names = join_names([path.stem for path in locks])
    return LOCKS.warning(f"{names}: {describe_holders(locks)}", "wait for that process, or end it")


def check_ray(kernel: Kernel) -> DoctorFinding:
    """Check for Ray workers that run something; an idle Ray node is fine."""
    titles = {
        path.split("/")[1]: text.split("\0")[0].strip()
        for path, text in kernel.texts("proc/[0-9]*/cmdline").items()
    }
    commands = {pid: title for pid, title in titles.items() if title}  # it may begin with a NUL
    if not commands:
        return RAY.unknown("the kernel does not state it")
    # Ray pads the names of its workers with spaces, or ends them with nothing at all.
    workers = [
        f"{command.split()[0]} (pid {pid})"
        for pid, command in commands.items()
        if command.startswith(WORKER) and not command.startswith(WAITING)
    ]
    nodes = [pid for pid, command in commands.items() if Path(command.split()[0]).name == NODE]
    if workers:
        return RAY.warning(join_names(workers), "let it end (ray list tasks), or ray job stop ID")
    return RAY.fine(f"Ray is idle (pid {join_names(nodes)})" if nodes else "Ray does not run here")


def _locked_inodes(table: str) -> frozenset[int]:
    """Parse lines `1: FLOCK  ADVISORY  WRITE 123 08:01:4567 0 EOF` (proc_locks(5)).

    By inode alone: btrfs and overlays show another device than stat.
    """
    rows = [line.split() for line in table.splitlines()]
    places = [row[5] for row in rows if len(row) >= 8 and row[1] == "FLOCK" and row[3] == "WRITE"]
    inodes = [place.rpartition(":")[2] for place in places]
    return frozenset(int(inode) for inode in inodes if inode.isdecimal())


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
