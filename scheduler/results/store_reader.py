"""The reading side of a results store: tables, plans, sweep ids and damaged files."""

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Self, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from velodrome.agents.environments.versions import VersionLocks
from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.agents.node_types import NodeTypes, TypedNode
from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.results import parquet_files, plan_record, rows
from velodrome.scheduler.results.backend import Backend
from velodrome.scheduler.results.ceilings import CEILING_COLUMNS, Ceilings
from velodrome.scheduler.results.committed_attempts import (
    COLUMNS,
    CommittedAttempts,
    Identity,
    SweepSummary,
    collect_committed,
)
from velodrome.scheduler.results.deduplication import Files, Report, find_countable_files
from velodrome.scheduler.results.derived_columns import find_ceilings
from velodrome.scheduler.results.file_faults import AWAY, FaultKind, FileFault, fault_of_error
from velodrome.scheduler.results.object_store import AT_ONCE
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.schema_conversion import with_utc_offsets
from velodrome.scheduler.results.sweep_ids import resolve_sweep_id

TRIES = 5
TYPES_SEARCHED = 50  # sweeps, the newest: in a bucket each is a request
Seen = TypeVar("Seen")


class StoreReader:
    """Reads sound files and collects the faults of the others in `faults`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._layout = backend.layout
        self._faults: dict[str, FileFault] = {}
        self._report: Report = self._collect

    def reader(self) -> Self:
        """Return a copy that skips damaged files, or itself if it already does."""
        if self._report == self._collect:
            return self
        copied = copy.copy(self)
        copied._faults = {}
        copied._report = copied._collect
        return copied

    @property
    def faults(self) -> tuple[FileFault, ...]:
        """The faults of files whose rows were skipped so far. Always empty for a writer."""
        return tuple(self._faults.values())

    def report_fault(self, fault: FileFault) -> None:
        """Report a file that another reader (DuckDB) found damaged. A writer raises StoreError."""
        self._report(fault)

    def _collect(self, fault: FileFault) -> None:
        self._faults.setdefault(fault.path, fault)

    @property
    def name(self) -> str:
        """The place of the results, as typed."""
        return self._backend.name

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The file system to which the paths of files belong."""
        return self._backend.filesystem

    def sweep_text(self, sweep_id: str) -> str:
        """Return the sweep file with which a sweep began. ConfigError if it has none."""
        with self._as_store_error():
            try:
                return self._backend.content(self._layout.text(sweep_id)).decode(errors="replace")
            except FileNotFoundError:
                mend = "It measured a single task: run that task again."
                raise ConfigError(sweep_id, "this sweep has no sweep file", mend) from None

    def sweep_source(self, sweep_id: str) -> str:
        """Return the path of the kept sweep file, for messages."""
        return str(self._layout.text(sweep_id))

    def version_locks(self, sweep_id: str) -> VersionLocks:
        """Return the locks of versioned frameworks; empty before keep_locks."""
        with self._as_store_error():
            return VersionLocks(self._backend.fetch_folder(self._layout.version_locks(sweep_id)))

    def repeat_numbers(self, sweep_id: str) -> dict[str, dict[str, int]]:
        """Return the first repeat number by task key and node, for planning the sweep again."""
        if not self._is_begun(sweep_id):
            return {}
        return plan_record.first_repeats(self._record(sweep_id))

    def nodes(self, sweep_id: str) -> tuple[Node, ...]:
        """Return a sweep's recorded nodes, with all that decides which tasks fit."""
        found = self.read("nodes", sweep_id).to_pylist()
        return tuple(rows.read_node(row) for row in found)

    def types(self) -> NodeTypes:
        """Return the node types of the newest sweeps; unreadable sweeps are skipped."""
        reader = self.reader()

        def typed(sweep_id: str) -> list[TypedNode]:
            with suppress(StoreError):
                found = reader.read("nodes", sweep_id, rows.NODE_TYPE_COLUMNS).to_pylist()
                return [rows.read_node_type(row) for row in found]
            return []

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return NodeTypes(pool.map(typed, self.sweep_ids()[:TYPES_SEARCHED]))

    def finished(self, sweep_id: str) -> frozenset[Identity]:
        """Return the tasks and repeats that need no further attempt; see Status.is_final."""
        return frozenset(self._committed(sweep_id).final)

    def next_attempt(self, sweep_id: str, task_id: str, repeat: int) -> int:
        """Return the number of a task's next attempt, from 1."""
        return self._committed(sweep_id).attempts.get((task_id, repeat), 0) + 1

    def ceilings(self, sweep_id: str) -> Ceilings:
        """Return the ceilings of a sweep's nodes: its own, or else those of newer sweeps."""
        others = [other for other in self.sweep_ids() if other != sweep_id]
        reader = self.reader()

        def read(other: str) -> pa.Table:
            return (self if other == sweep_id else reader).read("tasks", other, CEILING_COLUMNS)

        return find_ceilings(read, sweep_id, others)

    def sweep_ids(self) -> tuple[str, ...]:
        """Return all sweeps that have a plan or rows, newest first."""
        with self._as_store_error():
            found = self._backend.list_started() | self._backend.sweep_ids("tasks")
        return tuple(sorted(found, reverse=True))

    def sweeps(self) -> tuple[SweepSummary, ...]:
        """Return a summary of every sweep, newest first."""
        return tuple(self.summary(sweep_id) for sweep_id in self.sweep_ids())

    def resolve(self, text: str) -> str:
        """Return the sweep with this id, this beginning of an id, or `last`. Else ConfigError."""
        return resolve_sweep_id(text, self.sweep_ids(), self.name)

    def read(
        self, table: str, sweep_id: str | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Read a table of one sweep or of all. KeyError if there is no such table or column."""

        schema = parquet_files.schema_of(table, columns)

        def look(report: Report) -> pa.Table:
            found = [
                rows
                for files in self._files(table, sweep_id, report)
                for rows in parquet_files.read(files, columns, report)
            ]
            return with_utc_offsets(pa.concat_tables(found) if found else schema.empty_table())

        with self._as_store_error():
            return retry_if_vanished(look, self._report)

    def countable_files(self, table: str) -> tuple[tuple[str, ...], bool]:
        """Return the sound files of all sweeps, for another reader (DuckDB).

        The bool is True if only `read` gives the right rows: some rows are in two files, or have
        earlier column names.
        """

        def look(report: Report) -> tuple[tuple[str, ...], bool]:
            files = self._files(table, None, report)
            found = [find_countable_files(each, report) for each in files]
            paths = (str(path) for paths, _ in found for path in paths)
            return tuple(paths), any(read_here for _, read_here in found)

        with self._as_store_error():
            return retry_if_vanished(look, self._report)

    def check(self) -> Iterator[FileFault]:
        """Read everything and yield the fault of every file that is damaged or misplaced."""
        for table in TABLES:
            yield from self.check_table(table)
            for path in self._misplaced_files(table):
                problem = f"it is outside {table}/sweep=ID/, so its rows are never read"
                mend = "Move it there, or out of the results."
                yield FileFault(path, table, "", FaultKind.STRAY, problem, mend)
        for sweep_id in self.sweep_ids():
            if fault := self._check_plan(sweep_id):
                yield fault

    def check_table(self, table: str) -> tuple[FileFault, ...]:
        """Read every byte of a table's files and return all faults; raises for none of them."""

        def look(report: Report) -> None:
            for files in self._files(table, None, report):
                for _ in parquet_files.read(files, None, report):
                    pass  # frees a file's rows before the next file is read

        found: list[FileFault] = []
        with self._as_store_error():
            retry_if_vanished(look, found.append)
        return tuple(found)

    def _misplaced_files(self, table: str) -> tuple[str, ...]:
        with self._as_store_error():
            found = self._backend.list_all(table)
            sweeps = self._backend.sweep_ids(table)
        places = {self._layout.rows(table, sweep_id) for sweep_id in sweeps}
        return tuple(str(path) for path in found if path.parent not in places)

    def _check_plan(self, sweep_id: str) -> FileFault | None:
        """None if the plan is sound or was never made."""
        if not self._is_begun(sweep_id):
            return None
        try:
            self._record(sweep_id)
        except StoreError as error:
            path = str(self._layout.plan(sweep_id))
            problem = str(error).removeprefix(f"{path}: ").rstrip(".")
            return FileFault(path, "plan", sweep_id, FaultKind.UNREADABLE, problem, f"{AWAY}.")
        return None

    def summary(self, sweep_id: str) -> SweepSummary:
        """Count a sweep's planned, finished and timed tasks."""
        planned = self._planned(sweep_id)
        found = self.read("tasks", sweep_id, COLUMNS)
        numbered = sum(Status(str(text)).has_number for text in found["status"].to_pylist())
        return SweepSummary(sweep_id, planned, len(collect_committed(found).answered), numbered)

    def _planned(self, sweep_id: str) -> int:
        """0 if unknown."""
        if fault := self._check_plan(sweep_id):
            self._report(fault)
            return 0
        return self._record(sweep_id).num_rows if self._is_begun(sweep_id) else 0

    def _committed(self, sweep_id: str) -> CommittedAttempts:
        return collect_committed(self.read("tasks", sweep_id, COLUMNS))

    def _is_begun(self, sweep_id: str) -> bool:
        with self._as_store_error():
            return self._backend.exists(self._layout.plan(sweep_id))

    def _record(self, sweep_id: str) -> pa.Table:
        path = self._layout.plan(sweep_id)
        try:
            with pq.ParquetFile(pa.BufferReader(self._backend.content(path))) as file:
                record = file.read()
            record.validate(full=True)
            return record.select(plan_record.SCHEMA.names)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error

    def _files(self, table: str, sweep_id: str | None, report: Report) -> Iterator[Files]:
        """Yield the files of each sweep; reports sweep folders that cannot be listed."""
        ids = sorted(self._backend.sweep_ids(table)) if sweep_id is None else [sweep_id]
        for each in ids:
            try:
                paths = self._backend.files(table, each)
            except OSError as error:
                if error.errno is None:
                    raise  # a bucket: its listing concerns all sweeps
                report(fault_of_error(self._layout.rows(table, each), table, each, error))
            else:
                yield Files(table, each, paths, self._backend.opened)

    @contextmanager
    def _as_store_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.name}: {error.strerror or error}") from error


def retry_if_vanished(look: Callable[[Report], Seen], report: Report) -> Seen:
    """Call `look` again while listed files are gone: a compaction may have replaced them.

    look: reports faults; only those of its last call are passed on to `report`.
    """
    for left in reversed(range(TRIES)):
        faults: list[FileFault] = []
        seen = look(faults.append)
        if not left or all(fault.kind is not FaultKind.VANISHED for fault in faults):
            break
    for fault in faults:
        report(fault)
    return seen
