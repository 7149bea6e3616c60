"""Other users of this machine's cores: holders of core locks, and Ray's processes."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from velodrome.agents.cores.lock_files import DEFAULT, VARIABLE
from velodrome.agents.cores.lock_holders import describe_holders
from velodrome.agents.doctor.finding import DoctorFinding, Subject, join_names
from velodrome.agents.doctor.proc_sys_files import Kernel

LOCKS = Subject("locked cores", "a task waits until whoever holds its cores or GPUs has ended")
RAY = Subject(
    "work of Ray", "Ray counts no cores that its own tasks really use, and they run on any"
)
# Workers are renamed to what they run. Those of a Ray that waits, and its own agents, are quiet.
WORKER = "ray::"
WAITING = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
NODE = "raylet"


def lock_paths(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """List existing lock files of cores and GPUs; nothing is created."""
    folder = Path(environ.get(VARIABLE) or DEFAULT)
    return tuple(sorted([*folder.glob("core-*.lock"), *folder.glob("gpu-*.lock")]))


def locked(kernel: Kernel, paths: Iterable[Path]) -> DoctorFinding:
    """Check for held locks in /proc/locks: trying a lock would hold it for a moment."""
    table = kernel.text("proc/locks")
    if table is None and not (kernel.root / "proc/locks").exists():
        return LOCKS.unknown("this kernel does not say")
    held_inodes = _locked_inodes(table or "")
    held = [path for path in paths if (inode := _inode(path)) is not None and inode in held_inodes]
    if not held:
        return LOCKS.fine("nobody holds any")
    names = join_names([path.stem for path in held])
    return LOCKS.warning(f"{names}: {describe_holders(held)}", "wait for it, or end it")


def ray(kernel: Kernel) -> DoctorFinding:
    """Check for Ray workers that run something; an idle Ray node is fine."""
    titles = {
        path.split("/")[1]: text.split("\0")[0].strip()
        for path, text in kernel.texts("proc/[0-9]*/cmdline").items()
    }
    commands = {pid: title for pid, title in titles.items() if title}  # it may begin with a NUL
    if not commands:
        return RAY.unknown("this kernel does not say")
    # Ray pads the names of its workers with spaces, or ends them with nothing at all.
    workers = [
        f"{command.split()[0]} (pid {pid})"
        for pid, command in commands.items()
        if command.startswith(WORKER) and not command.startswith(WAITING)
    ]
    nodes = [pid for pid, command in commands.items() if Path(command.split()[0]).name == NODE]
    if workers:
        return RAY.warning(join_names(workers), "let it end (ray list tasks), or ray job stop ID")
    return RAY.fine(f"a Ray that waits (pid {join_names(nodes)})" if nodes else "no Ray runs here")


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
