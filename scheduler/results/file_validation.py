"""Opening of Parquet files, and checks that they hold rows of their folder's table and sweep."""

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from velodrome.agents.measurement import Status
from velodrome.scheduler.results.columns import VERSION, VERSION_KEY
from velodrome.scheduler.results.file_faults import DanglingLink, NotARegularFile
from velodrome.scheduler.results.sanitizing import in_one_line
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.schema_conversion import names_in_file
from velodrome.scheduler.results.typed_rows import CellKey

KNOWN_VERSIONS = tuple(str(number) for number in range(1, int(VERSION) + 1))
STATUSES = frozenset(Status)

# What no row of ours lacks: a file without such a column, or with a null in it, is another's.
_OF_A_TASK = ("sweep_id", "task_id", "repeat")
# Null on a CPU, for a given size, in earlier versions.
_OPTIONAL = ("gpu_count", "gpu_model", "batch_size_rule", "processes", "nodes")
_OF_A_CELL = [name for name in CellKey._fields if name not in _OPTIONAL]
REQUIRED_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "tasks": (*_OF_A_TASK, "attempt", "status", *_OF_A_CELL),
    "samples": (*_OF_A_TASK, "phase", "index", "calls", "started_ns", "elapsed_ns"),
    "utilization": (*_OF_A_TASK, "at_ns"),
    "nodes": ("sweep_id", "node_id"),
    "parameters": (*_OF_A_TASK, "name"),
}
MOVE = "Move it out of the results."
LATER = "Read it with the Velodrome that wrote it."

Problem = tuple[str, str]
"""The problem and the mend."""

Opened = pq.ParquetFile | Exception
"""An open file, which its receiver closes, or the exception of opening it."""


def open_local_file(path: Path) -> Opened:
    """Open a Parquet file of this machine, or return why it cannot be opened."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise NotARegularFile("a folder")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its other end
            raise NotARegularFile("not a regular file")
        return pq.ParquetFile(str(path))
    except FileNotFoundError as error:
        return DanglingLink(*error.args) if path.is_symlink() else error
    except (OSError, pa.ArrowException) as error:
        return error


def check_footer(table: str, file: pq.ParquetFile) -> Problem | None:
    """Check a file's footer: version, columns and types."""
    schema = file.schema_arrow
    version = (schema.metadata or {}).get(VERSION_KEY, b"1").decode(errors="replace")
    if version not in KNOWN_VERSIONS:
        known = " and ".join(KNOWN_VERSIONS)
        problem = (
            f"its schema version is {in_one_line(version)!r:.20}, this Velodrome knows {known}"
        )
        return problem, LATER
    missing = [name for name in REQUIRED_COLUMNS[table] if name not in schema.names]
    if missing:
        return f"it holds no {table}: it has no column {missing[0]}", MOVE
    for name, named in names_in_file(table, schema.names).items():
        found, wanted = schema.field(named).type, TABLES[table].field(name).type
        if not _fits(found, wanted):
            return f"its column {named} is of type {str(found)[:40]}, not {wanted}", MOVE
    return None


def check_rows(table: str, sweep_id: str, rows: pa.Table) -> Problem | None:
    """Check the REQUIRED_COLUMNS that were read."""
    for name in REQUIRED_COLUMNS[table]:
        if name in rows.column_names and rows[name].null_count:
            return f"a row has no {name}", MOVE
    if "sweep_id" in rows.column_names:
        others = _list_distinct(rows, "sweep_id") - {sweep_id}
        if others:
            other = in_one_line(min(others))
            return f"its rows are of sweep {other:.40}", f"Move it to sweep={other:.40}."
    if table == "tasks" and "status" in rows.column_names:
        unknown = _list_distinct(rows, "status") - STATUSES
        if unknown:
            return f"a row has the status '{in_one_line(min(unknown)):.40}'", LATER
    return None


def _list_distinct(rows: pa.Table, name: str) -> set[str]:
    return {str(value) for value in rows[name].unique().to_pylist()}


def _fits(source: pa.DataType, target: pa.DataType) -> bool:
    """Return True if values of one type may be read as the other."""
    if source.equals(target) or pa.types.is_null(source):
        return True
    try:
        pa.array([], source).cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return False
    return _name_kind(source) == _name_kind(target)


def _name_kind(kind: pa.DataType) -> str:
    """Group types: a cast from text to number is possible, but not wanted."""
    if pa.types.is_dictionary(kind):
        return _name_kind(kind.value_type)
    kinds: Sequence[tuple[str, bool]] = (
        ("number", pa.types.is_integer(kind) or pa.types.is_floating(kind)),
        ("text", pa.types.is_string(kind) or pa.types.is_large_string(kind)),
        ("time", pa.types.is_timestamp(kind)),
        ("list", pa.types.is_list(kind) or pa.types.is_large_list(kind)),
    )
    return next((name for name, holds in kinds if holds), str(kind))
