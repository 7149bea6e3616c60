"""Checks that a place for results is usable, before a sweep starts."""

import errno
import tempfile
from pathlib import Path

from velodrome.scheduler.errors import ConfigError, StoreFull
from velodrome.scheduler.results.atomic_files import make_folder
from velodrome.scheduler.results.backend import Backend
from velodrome.scheduler.results.folder import Folder
from velodrome.scheduler.results.uri import BucketAddress, parse_address

_MENDS = {
    errno.EACCES: ("there are no rights to write here", "Give yourself rights, or name another."),
    errno.EPERM: ("there are no rights to write here", "Give yourself rights, or name another."),
    errno.EROFS: ("this file system is read-only", "Name a folder on another."),
    errno.EEXIST: ("this is a file", "Name a folder with --results."),
    errno.ENOTDIR: ("a part of this path is a file", "Name a folder with --results."),
    errno.ENAMETOOLONG: ("this path is too long", "Name a shorter one."),
}


def open_to_write(results: str | Path) -> Backend:
    """Open a place and test that it can be written; makes a private folder. Else ConfigError."""
    found = parse_address(results)
    if isinstance(found, BucketAddress):
        from velodrome.scheduler.results import bucket_preflight

        return bucket_preflight.open_to_write(found)
    folder = Folder(found)
    layout = folder.layout
    try:
        make_folder(layout.root.parent)
        layout.root.mkdir(mode=0o700, exist_ok=True)
        for inner in (layout.sweeps, layout.stagings):
            make_folder(inner)
            with tempfile.TemporaryFile(dir=inner) as file:
                file.write(b"velodrome")
    except OSError as error:
        raise _make_error(layout.root, error) from None
    return folder


def open_to_read(results: str | Path) -> Backend:
    """Open a place. ConfigError if there is no such folder or bucket, or it is unreadable."""
    found = parse_address(results)
    if isinstance(found, BucketAddress):
        from velodrome.scheduler.results import bucket_preflight

        return bucket_preflight.open_to_read(found)
    folder = Folder(found)
    try:
        next(found.iterdir(), None)
    except FileNotFoundError:
        mend = "Run a sweep first, or name another folder with --results."
        raise ConfigError(str(results), "there is no such folder", mend) from None
    except PermissionError:
        mend = "Give yourself rights, or name another with --results."
        raise ConfigError(str(results), "there are no rights to read here", mend) from None
    except OSError as error:
        raise _make_error(found, error) from None
    return folder


def _make_error(root: Path, error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(str(root), 1)
    otherwise = (f"results cannot be kept here ({error.strerror})", "Name another with --results.")
    return ConfigError(str(root), *_MENDS.get(error.errno or 0, otherwise))
