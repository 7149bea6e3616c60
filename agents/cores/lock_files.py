"""File locks visible to every process of this machine; the kernel frees those of dead ones."""

import fcntl
import os
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

VARIABLE = "VELODROME_LOCKS"
# Not tempfile.gettempdir(): TMPDIR differs between users, sessions and services, and two folders
# are no lock.
DEFAULT = Path("/tmp/velodrome-locks")
COMMAND_LENGTH = 80


class LocksUnusable(Exception):
    """The folder of locks cannot be used. The user can fix that."""


def lock_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of locks, created if missing, open to all users. LocksUnusable."""
    folder = Path(environ.get(VARIABLE) or DEFAULT)
    try:
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            folder.chmod(0o1777)  # mkdir's own mode is cut by the umask
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise NotADirectoryError(f"{folder} is not a folder")
    except OSError as error:
        raise LocksUnusable(
            f"cores cannot be locked in {folder}: {error}. Set {VARIABLE} to a folder that all "
            f"users of this machine may write to"
        ) from error
    return folder


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock until all its copies are closed; None: taken.

    The file stays: removing it would let two processes lock two files of one name.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    _sign(descriptor)
    return descriptor


def _open(path: Path) -> int:
    """Open a lock's file. LocksUnusable if that is not permitted."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        while True:
            # First without O_CREAT: with fs.protected_regular, another user's file cannot be
            # opened with it in a sticky folder.
            with suppress(FileNotFoundError):
                return os.open(path, flags)
            with suppress(FileExistsError):
                descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
                os.fchmod(descriptor, 0o666)
                return descriptor
    except OSError as error:
        raise LocksUnusable(
            f"cannot lock {path}: {error}. Remove it, or set {VARIABLE} to another folder"
        ) from error


def _sign(descriptor: int) -> None:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:COMMAND_LENGTH]
    with suppress(OSError):  # a full disk: the lock is valid without a signature
        os.ftruncate(descriptor, 0)
        signature = f"pid {os.getpid()} ({command})\n"  # arguments may contain any bytes
        os.pwrite(descriptor, signature.encode(errors="replace"), 0)
