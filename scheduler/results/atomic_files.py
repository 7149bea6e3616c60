"""Atomic, durable file writes: files appear whole or not at all, and survive a power loss.

Only their owner may change them; the results folder's rights and the umask say who may read them.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from velodrome.scheduler.errors import StoreError, StoreFull

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FOLDER_MODE = 0o755  # less what the umask takes; never to be written to by anybody else
_FILE_MODE = 0o644


def write_all(contents: Mapping[Path, pa.Buffer], staging: Path) -> None:
    """Write files <a>/<b>/<name>: all to `staging`, then rename them into place in this order.

    A failure leaves renamed files in place and removes the others from `staging`.
    """
    staged = {path: staging / f"{path.parts[-3]}--{path.name}" for path in contents}
    try:
        make_folder(staging)
        for path, content in contents.items():
            _write_flushed(staged[path], content)
        for path, source in staged.items():
            make_folder(path.parent)
            source.rename(path)
            flush_folder(path.parent)  # on the disk before the next one appears
    finally:
        for source in staged.values():
            source.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; new ones are on the disk on return."""
    if folder.is_dir():
        return
    if folder.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    make_folder(folder.parent)
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    flush_folder(folder.parent)


def open_owner_writable(path: str, flags: int) -> int:
    """Open a file so that a new one is writable by its owner alone; an opener for `open`."""
    return os.open(path, flags, _FILE_MODE)


def _write_flushed(path: Path, content: pa.Buffer) -> None:
    with open(path, "wb", opener=open_owner_writable) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def as_store_error(path: Path | str, need_bytes: int = 0) -> Iterator[None]:
    """Raise the operating system's errors as StoreFull or StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(str(path), need_bytes) from error
        reason = error.strerror or str(error)
        raise StoreError(f"{path}: results cannot be written: {reason}.") from error
