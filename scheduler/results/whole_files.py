"""Files that appear whole or not at all, and stay when the power goes."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from velodrome.scheduler.errors import StoreError, StoreFull

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_all(contents: Mapping[Path, pa.Buffer], staging: Path) -> None:
    """Files of <a>/<b>/<name>: all whole in `staging`, then renamed to their places in this order.

    What could not be renamed is removed from `staging`; what was renamed stays.
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
    """With its parents; new ones are on the disk on return."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    flush_folder(folder.parent)


def _write_flushed(path: Path, content: pa.Buffer) -> None:
    with path.open("wb") as file:
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
def told_plainly(path: Path, need_bytes: int = 0) -> Iterator[None]:
    """The operating system's refusals as StoreFull or StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(str(path), need_bytes) from error
        reason = error.strerror or str(error)
        raise StoreError(f"{path}: results cannot be written: {reason}.") from error
