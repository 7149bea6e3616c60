"""One process at a time works on a sweep; the kernel frees the lock of one that died."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from velodrome.scheduler.errors import SweepBusy
from velodrome.scheduler.results.atomic_files import make_folder, told_plainly


@contextmanager
def locked(path: Path, patience_s: float) -> Iterator[None]:
    """SweepBusy if another process still holds the lock after this long."""
    with told_plainly(path):
        make_folder(path.parent)
        lock = FileLock(path, thread_local=False, mode=0o600)
        try:
            lock.acquire(timeout=patience_s)
        except Timeout:
            mend = "Wait for it, or start a new sweep."
            raise SweepBusy(str(path), "another process works on this sweep", mend) from None
    try:
        yield
    finally:
        lock.release()
