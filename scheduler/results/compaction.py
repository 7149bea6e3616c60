"""A finished sweep's many files to one per table, without an instant at which rows are missing.

The new folder is built aside and exchanged with the old one. The old one is left aside until the
store is opened again, so that a reader that has just listed it does not see it shrink.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from velodrome.scheduler.results import parquet_files
from velodrome.scheduler.results.filling import NOTHING, Fills
from velodrome.scheduler.results.layout import COMPACTED, Layout
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.swapping import aside, recover, swap
from velodrome.scheduler.results.whole_files import flush_folder, make_folder, owned

Swap = Callable[[Path, Path], None]


def compact(layout: Layout[Path], sweep_id: str, swap: Swap = swap, fills: Fills = NOTHING) -> None:
    """The caller holds the sweep and has dropped its orphans. Done again, it does nothing.

    `tasks` last: a file of another table is an orphan if there is none of its name in `tasks`.
    """
    for table in sorted(TABLES, key="tasks".__eq__):
        there = files(layout, table, sweep_id)
        if there and [file.name for file in there] != [COMPACTED]:
            live, staging = layout.rows(table, sweep_id), layout.staging(sweep_id)
            _compact(table, there, fills, live, staging, swap)


def files(layout: Layout[Path], table: str, sweep_id: str) -> list[Path]:
    return sorted(layout.rows(table, sweep_id).glob("*.parquet"))


def clear(layout: Layout[Path], sweep_id: str) -> None:
    """Finish a swap that was cut off, remove what was left aside. The caller holds the sweep."""
    staging = layout.staging(sweep_id)
    if not staging.is_dir():
        return
    for table in TABLES:
        recover(_ready(staging, table), layout.rows(table, sweep_id))
    shutil.rmtree(staging)


def _compact(
    table: str, files: list[Path], fills: Fills, live: Path, staging: Path, swap: Swap
) -> None:
    ready = _ready(staging, table)
    building = staging / f"{table}.building"
    for left in (building, ready, aside(ready)):
        shutil.rmtree(left, ignore_errors=True)
    make_folder(building)
    with open(building / COMPACTED, "wb", opener=owned) as sink:
        parquet_files.merge(table, map(pq.ParquetFile, files), sink, fills)
    _flush(building / COMPACTED)
    flush_folder(building)
    building.rename(ready)  # only what is whole is ever called ready
    flush_folder(staging)
    swap(ready, live)
    flush_folder(live.parent)


def _ready(staging: Path, table: str) -> Path:
    return staging / f"{table}.ready"


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
