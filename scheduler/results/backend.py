"""What a store asks of the place that keeps its files: a folder, or a bucket of an object store."""

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
    """Paths are those of `layout`. What is refused is raised as OSError, but by `write`."""

    @property
    def layout(self) -> Layout[PurePath]: ...

    @property
    def name(self) -> str:
        """As it was typed, for messages and for the command line of whoever goes on."""

    @property
    def filesystem(self) -> pafs.FileSystem:
        """In which the paths are names."""

    def held(self, sweep_id: str) -> AbstractContextManager[None]:
        """SweepBusy if another process works on this sweep. What a crash left is mended first."""

    def clear(self) -> None:
        """Mend what crashes left of sweeps that nobody works on, where that is quick."""

    def write(self, sweep_id: str, contents: Mapping[PurePath, pa.Buffer]) -> None:
        """Each whole or not at all, the last one after all others. StoreFull or StoreError."""

    def exists(self, path: PurePath) -> bool: ...

    def content(self, path: PurePath) -> bytes:
        """FileNotFoundError if it is not there."""

    def remove(self, paths: Iterable[PurePath]) -> None:
        """What is gone already is fine."""

    def files(self, table: str, sweep_id: str) -> list[PurePath]:
        """Those that count; of rows that two have, those of the earlier one do."""

    def below(self, table: str) -> list[PurePath]:
        """All that look like rows, wherever below the table they lie."""

    def sweep_ids(self, table: str) -> set[str]:
        """Those with files of this table."""

    def begun(self) -> set[str]:
        """The sweeps that have a plan."""

    def opened(self, paths: Iterable[PurePath]) -> Iterator[tuple[PurePath, Opened]]:
        """Each is closed by whoever gets it; or what opening it raised."""

    def compact(self, sweep_id: str, fills: Fills) -> None:
        """One file per table; the caller holds the sweep, and it has no orphans.

        StoreError if rows would be missing.
        """

    def fetched(self, folder: PurePath) -> Path:
        """The folder on this machine, to be read."""

    def keep_folder(self, folder: PurePath, fill: Callable[[Path], None]) -> None:
        """What `fill` puts into a folder of this machine, in this place."""
