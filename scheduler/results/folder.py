"""A store backend for a folder of this machine, local or mounted."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.fs as pafs
from filelock import FileLock, Timeout

from velodrome.scheduler.errors import StoreError, SweepBusy
from velodrome.scheduler.results import compaction
from velodrome.scheduler.results.atomic_files import as_store_error, make_folder, write_all
from velodrome.scheduler.results.derived_columns import Fills
from velodrome.scheduler.results.file_validation import Opened, open_local_file
from velodrome.scheduler.results.layout import Layout, are_rows, is_hidden

PATIENCE_S = 1.0  # another process may be clearing up after a crash, which is quick


class Folder:
    """Stores results in a folder; see velodrome.scheduler.results.backend."""

    def __init__(self, root: Path) -> None:
        self.layout: Layout[Path] = Layout(root)

    @property
    def name(self) -> str:
        return str(self.layout.root)

    @property
    def filesystem(self) -> pafs.FileSystem:
        return pafs.LocalFileSystem()

    @contextmanager
    def hold(self, sweep_id: str) -> Iterator[None]:
        with lock_sweep(self.layout.lock(sweep_id), PATIENCE_S):
            with as_store_error(self.layout.root):
                compaction.clear(self.layout, sweep_id)
            try:
                yield
            finally:
                with suppress(OSError):  # what a compaction left aside stays until the next opening
                    self.layout.staging(sweep_id).rmdir()

    def clear(self) -> None:
        for sweep_id in _names(self.layout.stagings):
            with (
                suppress(SweepBusy, StoreError, OSError),
                lock_sweep(self.layout.lock(sweep_id), 0),
            ):
                compaction.clear(self.layout, sweep_id)

    def write(self, sweep_id: str, contents: Mapping[PurePath, pa.Buffer]) -> None:
        with as_store_error(self.layout.root, sum(content.size for content in contents.values())):
            found = {Path(path): content for path, content in contents.items()}
            write_all(found, self.layout.staging(sweep_id))

    def exists(self, path: PurePath) -> bool:
        return Path(path).exists()

    def content(self, path: PurePath) -> bytes:
        return Path(path).read_bytes()

    def remove(self, paths: Iterable[PurePath]) -> None:
        for path in paths:
            Path(path).unlink(missing_ok=True)

    def files(self, table: str, sweep_id: str) -> list[PurePath]:
        return list(compaction.files(self.layout, table, sweep_id))

    def list_all(self, table: str) -> list[PurePath]:
        folder = self.layout.table(table)
        return [path for path in sorted(folder.rglob("*")) if are_rows(path.relative_to(folder))]

    def sweep_ids(self, table: str) -> set[str]:
        names = _names(self.layout.table(table))
        return {name.removeprefix("sweep=") for name in names if name.startswith("sweep=")}

    def list_started(self) -> set[str]:
        names = _names(self.layout.sweeps)
        return {
            sweep_id
            for sweep_id in names
            if not is_hidden(sweep_id) and self.layout.plan(sweep_id).exists()
        }

    def opened(self, paths: Iterable[PurePath]) -> Iterator[tuple[PurePath, Opened]]:
        return ((path, open_local_file(Path(path))) for path in paths)

    def compact(self, sweep_id: str, fills: Fills) -> None:
        with as_store_error(self.layout.root):
            compaction.compact(self.layout, sweep_id, fills=fills)

    def fetch_folder(self, folder: PurePath) -> Path:
        return Path(folder)

    def keep_folder(self, folder: PurePath, fill: Callable[[Path], None]) -> None:
        with as_store_error(self.layout.root):
            fill(Path(folder))


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


@contextmanager
def lock_sweep(path: Path, patience_s: float) -> Iterator[None]:
    """Hold a lock file, which the kernel frees if its process dies. SweepBusy after patience_s."""
    with as_store_error(path):
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
