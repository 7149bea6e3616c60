"""A finished sweep's many files to one per table, without an instant at which rows are missing.

The new folder is built aside and exchanged with the old one. The old one is left aside until the
store is opened again, so that a reader that has just listed it does not see it shrink.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from velodrome.scheduler.results import parquet_files
from velodrome.scheduler.results.layout import COMPACTED, Layout
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.swapping import aside, recover, swap
from velodrome.scheduler.results.whole_files import flush_folder, make_folder

Swap = Callable[[Path, Path], None]


def compact(layout: Layout, sweep_id: str, swap: Swap = swap) -> None:
    """The caller holds the sweep and has dropped its orphans. Done again, it does nothing."""
    for table in TABLES:
        files = layout.files(table, sweep_id)
        if files and [file.name for file in files] != [COMPACTED]:
            _compact(table, files, layout.rows(table, sweep_id), layout.staging(sweep_id), swap)


def clear(layout: Layout, sweep_id: str) -> None:
    """Finish a swap that was cut off, remove what was left aside. The caller holds the sweep."""
    staging = layout.staging(sweep_id)
    if not staging.is_dir():
        return
    for table in TABLES:
        recover(_ready(staging, table), layout.rows(table, sweep_id))
    shutil.rmtree(staging)


def _compact(table: str, files: list[Path], live: Path, staging: Path, swap: Swap) -> None:
    ready = _ready(staging, table)
    building = staging / f"{table}.building"
    for left in (building, ready, aside(ready)):
        shutil.rmtree(left, ignore_errors=True)
    make_folder(building)
    parquet_files.merge(table, files, building / COMPACTED)
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
