"""Compaction of a finished sweep in a folder: many files become one per table.

The new folder is built aside and exchanged with the old one, so that rows are never missing. The
old one stays aside until the store is opened again, for readers that have just listed it.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath

from velodrome.scheduler.results import parquet_files
from velodrome.scheduler.results.atomic_files import flush_folder, make_folder, open_owner_writable
from velodrome.scheduler.results.atomic_swap import aside, recover, swap
from velodrome.scheduler.results.deduplication import Files
from velodrome.scheduler.results.derived_columns import NO_FILLS, Fills
from velodrome.scheduler.results.file_faults import DanglingLink, refuse_lost_rows
from velodrome.scheduler.results.file_validation import Opened, open_local_file
from velodrome.scheduler.results.layout import COMPACTED, Layout, in_order, is_rows
from velodrome.scheduler.results.schema import TABLES

Swap = Callable[[Path, Path], None]


def compact(
    layout: Layout[Path], sweep_id: str, swap: Swap = swap, fills: Fills = NO_FILLS
) -> None:
    """Compact a sweep; the caller holds it and has dropped its orphans. Idempotent.

    `tasks` last: a file of another table is an orphan if `tasks` has none of its name.
    """
    for table in sorted(TABLES, key="tasks".__eq__):
        there = files(layout, table, sweep_id)
        if there and [file.name for file in there] != [COMPACTED]:
            live, staging = layout.rows(table, sweep_id), layout.staging(sweep_id)
            merged = Files(table, sweep_id, there, _open_files)
            _compact(merged, fills, live, staging, swap)


def files(layout: Layout[Path], table: str, sweep_id: str) -> list[Path]:
    """List a sweep's files of a table. OSError if its folder exists and cannot be listed."""
    folder = layout.rows(table, sweep_id)
    try:
        found = list(folder.iterdir())
    except FileNotFoundError:
        if folder.is_symlink():
            raise DanglingLink(errno.ENOENT, "it is a link to a missing target") from None
        return []
    return in_order(path for path in found if is_rows(path.name))


def clear(layout: Layout[Path], sweep_id: str) -> None:
    """Finish an interrupted swap and remove leftovers. The caller holds the sweep."""
    staging = layout.staging(sweep_id)
    if not staging.is_dir():
        return
    for table in TABLES:
        recover(_prepare(staging, table), layout.rows(table, sweep_id))
    shutil.rmtree(staging)


def _compact(merged: Files, fills: Fills, live: Path, staging: Path, swap: Swap) -> None:
    ready = _prepare(staging, merged.table)
    building = staging / f"{merged.table}.building"
    for left in (building, ready, aside(ready)):
        shutil.rmtree(left, ignore_errors=True)
    make_folder(building)
    with open(building / COMPACTED, "wb", opener=open_owner_writable) as sink:
        parquet_files.merge(merged, sink, fills, refuse_lost_rows)
    _flush(building / COMPACTED)
    flush_folder(building)
    building.rename(ready)  # only what is whole is ever called ready
    flush_folder(staging)
    swap(ready, live)
    flush_folder(live.parent)


def _open_files(paths: Sequence[PurePath]) -> Iterator[tuple[PurePath, Opened]]:
    return ((path, open_local_file(Path(path))) for path in paths)


def _prepare(staging: Path, table: str) -> Path:
    return staging / f"{table}.ready"


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
