"""The interface between a store and the place of its files: a folder or a bucket."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePath
from typing import Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from velodrome.scheduler.results.derived_columns import Fills
from velodrome.scheduler.results.file_validation import Opened
from velodrome.scheduler.results.layout import Layout


class Backend(Protocol):
    """Reads and writes the files of a store. Paths are those of `layout`.

    Failures are OSError, except in `write`.
    """

    @property
    def layout(self) -> Layout[PurePath]: ...

    @property
    def name(self) -> str:
        """The place as typed, for messages and for printed commands."""

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The file system in which the paths are names."""

    def hold(self, sweep_id: str) -> AbstractContextManager[None]:
        """Hold a sweep and repair what a crash left. SweepBusy if another process holds it."""

    def clear(self) -> None:
        """Repair what crashes left of sweeps that no process holds, where that is quick."""

    def write(self, sweep_id: str, contents: Mapping[PurePath, pa.Buffer]) -> None:
        """Write each file whole or not at all, the last one last. StoreFull or StoreError."""

    def exists(self, path: PurePath) -> bool: ...

    def content(self, path: PurePath) -> bytes:
        """Return a file's bytes. FileNotFoundError if there is none."""

    def remove(self, paths: Iterable[PurePath]) -> None:
        """Remove files; missing ones are fine."""

    def files(self, table: str, sweep_id: str) -> list[PurePath]:
        """List committed files. Where two hold the same row, that of the earlier file counts."""

    def list_all(self, table: str) -> list[PurePath]:
        """List all files below the table's folder that look like rows, at any depth."""

    def sweep_ids(self, table: str) -> set[str]:
        """List the sweeps that have files of this table."""

    def list_started(self) -> set[str]:
        """List the sweeps that have a plan."""

    def opened(self, paths: Iterable[PurePath]) -> Iterator[tuple[PurePath, Opened]]:
        """Open files in their order, or return the error. The caller closes each."""

    def compact(self, sweep_id: str, fills: Fills) -> None:
        """Merge files into one per table. StoreError if rows would be missing.

        The caller holds the sweep, and it has no orphans.
        """

    def fetch_folder(self, folder: PurePath) -> Path:
        """Return the folder as one of this machine, for reading."""

    def keep_folder(self, folder: PurePath, fill: Callable[[Path], None]) -> None:
        """Store in this place what `fill` puts into a folder of this machine."""
