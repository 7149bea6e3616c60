"""A file of this machine that is to hold rows, opened, or why it cannot be."""

import stat
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from velodrome.scheduler.results.deduplication import Opened
from velodrome.scheduler.results.file_faults import DanglingLink, NoFile


def opened(path: Path) -> Opened:
    try:
        return _opened(path)
    except FileNotFoundError as error:
        return DanglingLink(*error.args) if path.is_symlink() else error
    except (OSError, pa.ArrowException) as error:
        return error


def _opened(path: Path) -> pq.ParquetFile:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise NoFile("a folder")
    if not stat.S_ISREG(mode):
        raise NoFile("no file that can be read")  # whoever opens a pipe waits for its other end
    return pq.ParquetFile(str(path))
