"""Holders of a lock: the process that signed it, or one that outlived it and still holds it."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from velodrome.agents.safe_text import sanitize_line

SIGNATURE_BYTES = 200
MOST = 4  # processes that are named for one lock
STATES = {"T": "stopped", "t": "stopped by a debugger", "D": "in the kernel", "Z": "ended"}


def describe_holders(paths: Iterable[Path]) -> str:
    """Describe the holders, such as `pid 123 (velodrome run sweeps/quick.yaml)`.

    A task's supervisor holds its locks until nothing is left of the task. The agent that signed
    them may be dead by then: `pid 124 (python, stopped), left by pid 123 (...)`.
    """
    # The kernel names files by their real path. A link in place of a lock is not followed.
    real = (path.parent.resolve() / path.name for path in paths)
    names = dict.fromkeys(name for path in real if (name := _describe_holder(path)))
    return ", ".join(names) or "another process"


def _describe_holder(path: Path) -> str:
    signature = _read_signature(path)
    signer = re.match(r"pid ([0-9]+) ", signature)
    if signer and _has_locked(signer[1], path):
        return signature
    pids = (entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    others = [_describe(pid) for pid in pids if _has_locked(pid, path)]
    if others:
        more = f" and {len(others) - MOST} more" if len(others) > MOST else ""
        names = ", ".join(others[:MOST]) + more
        return f"{names}, left by {signature}" if signature else names
    # Another user's process, or a kernel that does not list locks.
    has_ended = signer and not Path("/proc", signer[1]).exists()
    return f"processes left by {signature}, which has ended" if has_ended else signature


def _read_signature(path: Path) -> str:
    """Read a signature, which any user may have written or replaced by a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return sanitize_line(os.read(descriptor, SIGNATURE_BYTES).decode(errors="replace"), 200)
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _has_locked(pid: str, path: Path) -> bool:
    """Return True if its descriptor holds the lock: a waiting process has the file open, too."""
    return any("FLOCK" in _text(descriptor) for descriptor in _descriptor_infos(pid, str(path)))


def _descriptor_infos(pid: str, path: str) -> Iterator[Path]:
    """Yield the kernel's file about each descriptor of this lock."""
    try:
        for descriptor in Path("/proc", pid, "fd").iterdir():
            if os.readlink(descriptor) == path:  # noqa: PTH115
                yield Path("/proc", pid, "fdinfo", descriptor.name)
    except OSError:  # it has ended, or is another user's
        return


def _describe(pid: str) -> str:
    fields = _text(Path("/proc", pid, "stat"))
    name, _, rest = fields.partition("(")[2].rpartition(")")
    state = STATES.get(rest.strip()[:1], "")
    return f"pid {pid} ({sanitize_line(name, 20)}{', ' + state if state else ''})"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
