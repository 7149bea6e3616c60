"""Reader of a sweep's Parquet files: rows count once, damaged files are skipped and reported."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath

import pyarrow as pa
import pyarrow.parquet as pq

from velodrome.scheduler.results.file_faults import FaultKind, FileFault, fault_of_error
from velodrome.scheduler.results.file_validation import (
    REQUIRED_COLUMNS,
    Opened,
    check_footer,
    check_rows,
)
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.schema_conversion import fit_to_schema, names_in_file

Report = Callable[[FileFault], None]
Groups = Iterable[pa.Table]

# The columns that identify a row, and the node's clock, where a row represents all of its task
# and repeat: a copy is of the same time, a second attempt is not.
_KEYS = {
    "tasks": (("task_id", "repeat", "attempt", "status"), ""),
    "samples": (("task_id", "repeat"), "started_ns"),
    "utilization": (("task_id", "repeat"), "at_ns"),
    "parameters": (("task_id", "repeat"), ""),
    "nodes": (("node_id",), ""),
}
_REFUSALS = (OSError, pa.ArrowException, UnicodeDecodeError)


@dataclass(frozen=True)
class Files:
    """The files of one table and sweep. Where two hold the same row, the earlier one counts.

    opened: opens paths in the same order.
    """

    table: str
    sweep_id: str
    paths: Sequence[PurePath]
    opened: Callable[[Sequence[PurePath]], Iterator[tuple[PurePath, Opened]]]

    def fault(
        self, path: PurePath, problem: str, mend: str, kind: FaultKind = FaultKind.UNREADABLE
    ) -> FileFault:
        return FileFault(str(path), self.table, self.sweep_id, kind, problem, mend)


class UnsoundFile(Exception):
    """Raised for a file that is not what its place says."""

    def __init__(self, fault: FileFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def read_unique_groups(
    files: Files, columns: Sequence[str], report: Report, collect: Callable[[Groups], Groups] = list
) -> Iterator[pa.Table]:
    """Yield row groups with these columns if present; report files that are left out.

    collect: `list` so that a file gives all of its rows or none; `iter` to save memory where
    `report` raises anyway.
    """
    wanted = {*columns, *REQUIRED_COLUMNS[files.table]}
    once = _RowIndex(files)
    for path, opened in files.opened(files.paths):
        with _report_faults(files, path, report), _require_open(opened) as file:
            for group in collect(_read_groups(files, path, file, wanted)):
                new = once.select_new(group)
                yield new.select([name for name in columns if name in new.column_names])
            for fault in once.end_file(path):
                report(fault)


def find_countable_files(files: Files, report: Report) -> tuple[list[PurePath], bool]:
    """Return the files whose rows count, and whether only this module reads them right.

    True if rows are in two files or columns have earlier names. Only file ends and the columns that
    identify rows are read: other damage shows when the rows are read.
    """
    once = _RowIndex(files)
    found, read_here = [], False
    for path, opened in files.opened(files.paths):
        with _report_faults(files, path, report), _require_open(opened) as file:
            groups = list(_read_groups(files, path, file, once.choose_columns(file)))
            left = sum(once.select_new(group).num_rows for group in groups)
            doubled = once.end_file(path)
            for fault in doubled:
                report(fault)
            if left or not doubled:
                found.append(path)
                read_here |= bool(doubled) or _has_earlier_names(files.table, file)
    return found, read_here


def _has_earlier_names(table: str, file: pq.ParquetFile) -> bool:
    found = names_in_file(table, file.schema_arrow.names)
    return any(name != named for name, named in found.items())


@contextmanager
def _report_faults(files: Files, path: PurePath, report: Report) -> Iterator[None]:
    try:
        yield
    except UnsoundFile as error:
        report(error.fault)
    except _REFUSALS as error:
        report(fault_of_error(path, files.table, files.sweep_id, error))


def _require_open(opened: Opened) -> pq.ParquetFile:
    if isinstance(opened, Exception):
        raise opened
    return opened


def _read_groups(
    files: Files, path: PurePath, file: pq.ParquetFile, wanted: Collection[str]
) -> Iterator[pa.Table]:
    """Yield row groups with these columns if present. Raises Unsound."""
    schema = TABLES[files.table]
    if wrong := check_footer(files.table, file):
        raise UnsoundFile(files.fault(path, *wrong))
    names = {
        name: file_names
        for name, file_names in names_in_file(files.table, file.schema_arrow.names).items()
        if name in wanted
    }
    present = pa.schema([schema.field(name) for name in names])
    file_names = [*names.values()]
    for number in range(file.num_row_groups):
        group = file.read_row_group(number, columns=file_names).select(file_names)
        found = fit_to_schema(group.rename_columns([*names]), present)
        found.validate(full=True)  # here, not where text that is no UTF-8 is used
        if wrong := check_rows(files.table, files.sweep_id, found):
            raise UnsoundFile(files.fault(path, *wrong))
        yield found


class _RowIndex:
    """Tracks which rows earlier files of a sweep had. Free of cost for a single file."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._has_several = len(files.paths) > 1
        self._names, self._clock = _KEYS[files.table]
        self._earlier: set[tuple[object, ...]] = set()
        self._of_file: set[tuple[object, ...]] = set()
        self._rows = self._doubled = 0

    def choose_columns(self, file: pq.ParquetFile) -> Collection[str]:
        """Return the columns that show that the file belongs here and identify its rows."""
        if self._files.table == "tasks":
            return REQUIRED_COLUMNS["tasks"]
        keys = {*self._names, self._clock} if self._has_several else {self._names[0]}
        return keys if _is_of(file, self._files.sweep_id) else {*keys, "sweep_id"}

    def select_new(self, rows: pa.Table) -> pa.Table:
        """Return the rows that no earlier file had."""
        if not self._has_several:
            return rows
        keys = self._read_keys(rows)
        self._of_file |= keys
        self._rows += rows.num_rows
        doubled = {key[: len(self._names)] for key in keys & self._earlier}
        if not doubled:
            return rows
        columns = (rows[name].to_pylist() for name in self._names)
        left = [key not in doubled for key in zip(*columns, strict=True)]
        self._doubled += left.count(False)
        return rows.filter(pa.array(left))

    def end_file(self, path: PurePath) -> tuple[FileFault, ...]:
        """End a file; return a fault if it holds rows of earlier files."""
        rows, doubled = self._rows, self._doubled
        self._earlier |= self._of_file
        self._of_file = set()
        self._rows = self._doubled = 0
        if not doubled:
            return ()
        if doubled == rows:
            texts = ("all of its rows are in other files, too", "It is a copy: remove it.")
        else:
            problem = f"{doubled:,} of its {rows:,} rows are in other files, too"
            texts = (problem, "They are counted once; keep it for its other rows.")
        return (self._files.fault(path, *texts, FaultKind.COPY),)

    def _read_keys(self, rows: pa.Table) -> set[tuple[object, ...]]:
        names = [*self._names]
        if self._clock and rows.num_rows:
            rows = rows.group_by(names).aggregate([(self._clock, "min")])
            names.append(f"{self._clock}_min")
        elif self._clock:
            return set()
        return set(zip(*(rows[name].to_pylist() for name in names), strict=True))


def _is_of(file: pq.ParquetFile, sweep_id: str) -> bool:
    """Return True if the file's statistics show only this sweep; False if unknown."""
    names = file.schema_arrow.names
    if "sweep_id" not in names:
        return False
    column = next(
        at
        for at in range(file.metadata.num_columns)
        if file.metadata.schema.column(at).path == "sweep_id"
    )
    bounds = [
        file.metadata.row_group(number).column(column).statistics
        for number in range(file.num_row_groups)
    ]
    return all(
        bound is not None and bound.has_min_max and bound.min == bound.max == sweep_id
        for bound in bounds
    )
