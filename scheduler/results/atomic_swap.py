"""Exchange of two folders, atomic where the file system can.

Linux exchanges two names atomically (renameat2 with RENAME_EXCHANGE). Where a file system cannot
(some network ones), two renames do it: between them the place is empty, and `recover` repairs it
if the process died there.
"""

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM)


def swap(ready: Path, live: Path) -> None:
    """Put `ready` in the place of `live`; the old folder is then at `ready` or `aside(ready)`."""
    try:
        exchange(ready, live)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        swap_in_two_steps(ready, live)


def exchange(one: Path, other: Path) -> None:
    """Exchange two names. OSError with EINVAL or ENOSYS if the system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    renameat2 = getattr(libc, "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    if renameat2(*names, _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))


def swap_in_two_steps(ready: Path, live: Path) -> None:
    live.rename(aside(ready))
    try:
        ready.rename(live)
    except OSError:
        aside(ready).rename(live)
        raise


def recover(ready: Path, live: Path) -> None:
    """Do the second rename if only the first of the two was done."""
    if aside(ready).is_dir() and ready.is_dir() and not live.exists():
        ready.rename(live)


def aside(ready: Path) -> Path:
    return ready.with_name(f"{ready.name}.old")
