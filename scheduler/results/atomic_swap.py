"""One folder in the place of another, at one instant where the file system can.

Linux exchanges two names atomically (renameat2 with RENAME_EXCHANGE). Where a file system cannot
(some network ones), two renames do it: between them the place is empty, and `recover` puts it
right if that was the last thing a process did.
"""

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM)


def swap(ready: Path, live: Path) -> None:
    """What was `ready` is live; what was live is in the place of `ready`, or of `aside(ready)`."""
    try:
        exchange(ready, live)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        swap_in_two_steps(ready, live)


def exchange(one: Path, other: Path) -> None:
    """Exchange two names. OSError with EINVAL or ENOSYS where that is not to be had."""
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
    """After two steps of which only the first was done: the second."""
    if aside(ready).is_dir() and ready.is_dir() and not live.exists():
        ready.rename(live)


def aside(ready: Path) -> Path:
    return ready.with_name(f"{ready.name}.old")
