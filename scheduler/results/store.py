"""Results: rows go in whole, once, and come out as tables.

Finished attempts are a file per table, that of `tasks` last: with it they count, before it nothing
does. One process at a time works on a sweep. How that is done in a folder, and how in a bucket, is
for velodrome.scheduler.results.folder and .bucket.
"""

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from velodrome.agents.environments.versions import VersionLocks
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Node
from velodrome.agents.node_types import Typed, Types
from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.plans.expectations import TO_AGREE, Expected
from velodrome.scheduler.plans.planning import Plan
from velodrome.scheduler.results import parquet_files, plan_record, rows
from velodrome.scheduler.results.backend import Backing
from velodrome.scheduler.results.ceilings import NEEDED, Ceilings
from velodrome.scheduler.results.committed_attempts import (
    COLUMNS,
    Committed,
    Identity,
    SweepSummary,
    committed,
)
from velodrome.scheduler.results.deduplication import Files, Tell, sound
from velodrome.scheduler.results.derived_columns import ceilings_among, fills, less
from velodrome.scheduler.results.file_faults import AWAY, Fault, Ill, of_error
from velodrome.scheduler.results.layout import group_file, is_ours, node_file
from velodrome.scheduler.results.object_store import AT_ONCE
from velodrome.scheduler.results.preflight import opened_to_read, opened_to_write
from velodrome.scheduler.results.retrying_reads import settled
from velodrome.scheduler.results.sweep_ids import new_sweep_id, resolved
from velodrome.scheduler.results.timestamps import for_python
from velodrome.scheduler.results.write_refusal import refuse

__all__ = ["Store", "SweepSummary", "new_sweep_id"]

TYPES_SEARCHED = 50  # sweeps, the newest: in a bucket each is a request
DEPENDENT = ("samples", "utilization", "parameters")  # count only with their row of `tasks`


class Store:
    """Opened to write: a folder is made, private, and tried. ConfigError if it cannot be.

    results: a folder, or s3:// or gs:// and a bucket. Writing raises StoreFull or StoreError,
    SweepBusy if another process works on the sweep.
    """

    def __init__(
        self,
        results: str | Path,
        open_backing: Callable[[str | Path], Backing] = opened_to_write,
    ) -> None:
        self._backing = open_backing(results)
        self._layout = self._backing.layout
        self._held: dict[str, Committed] = {}
        self._faults: dict[str, Fault] = {}
        self._tell: Tell = refuse
        self._backing.clear()

    @classmethod
    def for_reading(cls, results: str | Path) -> "Store":
        """ConfigError if there is no such place. What is sound is read; see `faults`."""
        return cls(results, opened_to_read).reader()

    def reader(self) -> "Store":
        """Itself, if it is one. The same place, of which what is sound is read; see `faults`."""
        if self._tell != refuse:
            return self
        found = copy.copy(self)
        found._held, found._faults = {}, {}
        found._tell = found._leave_out
        return found

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Files of which rows were left out of what was read until now; whoever writes refuses."""
        return tuple(self._faults.values())

    def tell(self, fault: Fault) -> None:
        """Of a file that whoever reads without us finds to be damaged. StoreError if it writes."""
        self._tell(fault)

    def _leave_out(self, fault: Fault) -> None:
        self._faults.setdefault(fault.path, fault)

    @property
    def name(self) -> str:
        """As it was typed."""
        return self._backing.name

    @contextmanager
    def working_on(self, sweep_id: str) -> Iterator[None]:
        """Hold a sweep, so that no other process writes to it. Within itself it holds once."""
        if sweep_id in self._held:
            yield
            return
        with self._backing.held(sweep_id):
            self._held[sweep_id] = self._committed(sweep_id)
            try:
                yield
            finally:
                del self._held[sweep_id]

    def begin(self, sweep_id: str, text: str, plan: Plan) -> None:
        """Keep the file's text and what is planned; begun before, what is new in the plan is added.

        ConfigError if it was begun with another text.
        """
        with self.working_on(sweep_id):
            record = plan_record.of_plan(plan)
            if self._is_begun(sweep_id):
                if self.sweep_text(sweep_id) != text:
                    mend = "Leave the sweep file out, or start a new sweep."
                    raise ConfigError(sweep_id, "was begun with another sweep file", mend)
                record = plan_record.joined(self._record(sweep_id), record)
            contents = {
                self._layout.text(sweep_id): pa.py_buffer(text.encode()),
                self._layout.plan(sweep_id): parquet_files.encoded(record),
            }
            self._backing.write(sweep_id, contents)

    def withdraw_all_but(self, sweep_id: str, planned: Collection[str]) -> None:
        """Take out what has no end of its own and is planned no more; rows, as it is compacted.

        Where a node was wanting, or an environment, the one that is there now may make another
        task of the same cell: with other threads, or another lock.
        """
        with self.working_on(sweep_id):
            record = self._record(sweep_id)
            gone = plan_record.tasks(record) - self._held[sweep_id].ended - set(planned)
            if gone:
                left = parquet_files.encoded(plan_record.without(record, gone))
                self._backing.write(sweep_id, {self._layout.plan(sweep_id): left})

    def _withdrawn(self, sweep_id: str) -> frozenset[str]:
        """Tasks that have rows, no end of their own, and no place in the plan any more."""
        if not self._is_begun(sweep_id):
            return frozenset()
        held = self._held[sweep_id]
        planned = plan_record.tasks(self._record(sweep_id))
        return frozenset({key for key, _ in held.attempts} - held.ended - planned)

    def sweep_text(self, sweep_id: str) -> str:
        """The text that the sweep was begun with. ConfigError if it was not."""
        with self._told():
            try:
                return self._backing.content(self._layout.text(sweep_id)).decode(errors="replace")
            except FileNotFoundError:
                mend = "It is a single task's; run that again by itself."
                raise ConfigError(sweep_id, "was not begun from a sweep file", mend) from None

    def sweep_source(self, sweep_id: str) -> str:
        """Where that text is kept, for messages about it."""
        return str(self._layout.text(sweep_id))

    def version_locks(self, sweep_id: str) -> VersionLocks:
        """Those of the frameworks that the sweep names at a version; empty before keep_locks."""
        with self._told():
            return VersionLocks(self._backing.fetched(self._layout.version_locks(sweep_id)))

    def keep_locks(
        self, sweep_id: str, used: VersionLocks, versions: Iterable[tuple[str, str]]
    ) -> None:
        """Of (framework, device), so that the sweep can be gone on with by the same locks."""

        def fill(folder: Path) -> None:
            for framework, device in versions:
                used.copy_to(VersionLocks(folder), framework, device)

        with self.working_on(sweep_id):
            self._backing.keep_folder(self._layout.version_locks(sweep_id), fill)

    def numbers(self, sweep_id: str) -> dict[str, dict[str, int]]:
        """How the repeats of a sweep that was begun are numbered, for planning it again."""
        if not self._is_begun(sweep_id):
            return {}
        return plan_record.numbers(self._record(sweep_id))

    def put(self, sweep_id: str, measurement: Measurement, expected: Expected = TO_AGREE) -> bool:
        """Keep an attempt, on disk on return. False: its task was finished, and nothing is done."""
        return self.put_all(sweep_id, [(measurement, expected)]) == 1

    def put_all(self, sweep_id: str, ended: Iterable[tuple[Measurement, Expected]]) -> int:
        """Keep attempts together, all on disk on return, or none: a file a table costs most.

        How many were kept: those whose task was finished are not.
        """
        with self.working_on(sweep_id):
            held = self._held[sweep_id]
            new = held.news(ended)
            if not new:
                return 0
            if not held.is_tidy:
                self.drop_orphans(sweep_id)
            contents = self._contents(sweep_id, group_file(new), tuple(new.values()))
            held.is_tidy = False
            try:
                self._backing.write(sweep_id, contents)
            except BaseException:
                with suppress(StoreError):
                    self.drop_orphans(sweep_id)
                raise
            held.is_tidy = True
            for key, (one, _) in new.items():
                held.add(*key, one.status)
            return len(new)

    def _contents(
        self, sweep_id: str, name: str, ended: Sequence[tuple[Measurement, Expected]]
    ) -> dict[PurePath, pa.Buffer]:
        tables = rows.tables_of(sweep_id, ended)
        return {
            self._layout.rows(table, sweep_id) / name: parquet_files.encoded(tables[table])
            for table in sorted(tables, key="tasks".__eq__)
        }

    def put_nodes(self, sweep_id: str, nodes: Sequence[Node]) -> None:
        """Keep the inventory of nodes; one that the sweep has already stays as it was."""
        with self.working_on(sweep_id):
            known = set(self.read("nodes", sweep_id)["node_id"].to_pylist())
            folder = self._layout.rows("nodes", sweep_id)
            new = {node.node_id: rows.node_row(sweep_id, node) for node in nodes}
            contents = {
                folder / node_file(node_id): parquet_files.encoded(rows.to_table("nodes", [row]))
                for node_id, row in new.items()
                if node_id not in known
            }
            self._backing.write(sweep_id, contents)

    def nodes(self, sweep_id: str) -> tuple[Node, ...]:
        """Those that the sweep has on record, as far as it decides what fits on them."""
        found = self.read("nodes", sweep_id).to_pylist()
        return tuple(rows.node_of(row) for row in found)

    def types(self) -> Types:
        """Names of node types, as the newest sweeps have them, as far as these can be read."""
        reader = self.reader()

        def typed(sweep_id: str) -> list[Typed]:
            with suppress(StoreError):
                found = reader.read("nodes", sweep_id, rows.OF_TYPES).to_pylist()
                return [rows.typed_of(row) for row in found]
            return []

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return Types(pool.map(typed, self.sweep_ids()[:TYPES_SEARCHED]))

    def finished(self, sweep_id: str) -> frozenset[Identity]:
        """Tasks and repeats that need no further attempt; see Status.is_final."""
        return frozenset(self._committed(sweep_id).final)

    def next_attempt(self, sweep_id: str, task_id: str, repeat: int) -> int:
        return self._committed(sweep_id).attempts.get((task_id, repeat), 0) + 1

    def drop_orphans(self, sweep_id: str) -> int:
        """Remove what a crash left of attempts that do not count; how many files that were."""
        with self.working_on(sweep_id):
            with self._told():
                # A file of tasks, or rows of it in a compacted one.
                known = {path.name for path in self._backing.files("tasks", sweep_id)}
                known |= self._held[sweep_id].files
                orphans = [
                    path
                    for table in DEPENDENT
                    for path in self._backing.files(table, sweep_id)
                    if path.name not in known and is_ours(path.name)
                ]
                self._backing.remove(orphans)
            self._held[sweep_id].is_tidy = True
            return len(orphans)

    def compact(self, sweep_id: str) -> None:
        """One file per table. Killed at any instant, no row is missing or there twice."""
        with self.working_on(sweep_id):
            self.drop_orphans(sweep_id)
            kept = less(fills(self.ceilings(sweep_id)), self._withdrawn(sweep_id))
            self._backing.compact(sweep_id, kept)

    def ceilings(self, sweep_id: str) -> Ceilings:
        """Of its nodes: its own, or those of the newest others where it has none."""
        others = [one for one in self.sweep_ids() if one != sweep_id]
        reader = self.reader()

        def read(one: str) -> pa.Table:
            return (self if one == sweep_id else reader).read("tasks", one, NEEDED)

        return ceilings_among(read, sweep_id, others)

    def sweep_ids(self) -> tuple[str, ...]:
        """Newest first: those that were begun, and those that have rows."""
        with self._told():
            found = self._backing.begun() | self._backing.sweep_ids("tasks")
        return tuple(sorted(found, reverse=True))

    def sweeps(self) -> tuple[SweepSummary, ...]:
        return tuple(self.summary(sweep_id) for sweep_id in self.sweep_ids())

    def resolve(self, text: str) -> str:
        """The sweep of an id, of its beginning, or `last`. ConfigError if that is no one sweep."""
        return resolved(text, self.sweep_ids(), self.name)

    def read(
        self, table: str, sweep_id: str | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """A table of one sweep, or of all; all columns, or these. KeyError if there is no such."""

        schema = parquet_files.schema_of(table, columns)

        def look(tell: Tell) -> pa.Table:
            found = [
                rows
                for files in self._files(table, sweep_id, tell)
                for rows in parquet_files.read(files, columns, tell)
            ]
            return for_python(pa.concat_tables(found) if found else schema.empty_table())

        with self._told():
            return settled(look, self._tell)

    @property
    def filesystem(self) -> pafs.FileSystem:
        """In which `files` are names."""
        return self._backing.filesystem

    def sound(self, table: str) -> tuple[tuple[str, ...], bool]:
        """The files of all sweeps that count now, for whoever reads them without us.

        And whether some of their rows are in two of them: then only `read` takes each once.
        """

        def look(tell: Tell) -> tuple[tuple[str, ...], bool]:
            found = [sound(files, tell) for files in self._files(table, None, tell)]
            paths = (str(path) for paths, _ in found for path in paths)
            return tuple(paths), any(has_doubles for _, has_doubles in found)

        with self._told():
            return settled(look, self._tell)

    def unsound(self, table: str) -> tuple[Fault, ...]:
        """Of all its files, every byte of which is looked at; nothing is refused."""

        def look(tell: Tell) -> None:
            for files in self._files(table, None, tell):
                for _ in parquet_files.read(files, None, tell):
                    pass  # a sweep's rows are not held longer than a file's

        found: list[Fault] = []
        with self._told():
            settled(look, found.append)
        return tuple(found)

    def strays(self, table: str) -> tuple[str, ...]:
        """Parquet files below a table that lie in no sweep's folder."""
        with self._told():
            found = self._backing.below(table)
            sweeps = self._backing.sweep_ids(table)
        places = {self._layout.rows(table, sweep_id) for sweep_id in sweeps}
        return tuple(str(path) for path in found if path.parent not in places)

    def unsound_plan(self, sweep_id: str) -> Fault | None:
        """None if it is sound, or none was made."""
        if not self._is_begun(sweep_id):
            return None
        try:
            self._record(sweep_id)
        except StoreError as error:
            path = str(self._layout.plan(sweep_id))
            problem = str(error).removeprefix(f"{path}: ").rstrip(".")
            return Fault(path, "plan", sweep_id, Ill.UNREADABLE, problem, f"{AWAY}.")
        return None

    def summary(self, sweep_id: str) -> SweepSummary:
        planned = self._planned(sweep_id)
        found = self.read("tasks", sweep_id, COLUMNS)
        numbered = sum(Status(str(text)).has_number for text in found["status"].to_pylist())
        return SweepSummary(sweep_id, planned, len(committed(found).answered), numbered)

    def _planned(self, sweep_id: str) -> int:
        """0 if that is not known."""
        if fault := self.unsound_plan(sweep_id):
            self._tell(fault)
            return 0
        return self._record(sweep_id).num_rows if self._is_begun(sweep_id) else 0

    def _committed(self, sweep_id: str) -> Committed:
        if sweep_id in self._held:
            return self._held[sweep_id]
        return committed(self.read("tasks", sweep_id, COLUMNS))

    def _is_begun(self, sweep_id: str) -> bool:
        with self._told():
            return self._backing.exists(self._layout.plan(sweep_id))

    def _record(self, sweep_id: str) -> pa.Table:
        path = self._layout.plan(sweep_id)
        try:
            with pq.ParquetFile(pa.BufferReader(self._backing.content(path))) as file:
                record = file.read()
            record.validate(full=True)
            return record.select(plan_record.SCHEMA.names)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error

    def _files(self, table: str, sweep_id: str | None, tell: Tell) -> Iterator[Files]:
        """By sweep. tell: of a sweep's folder that cannot be looked into."""
        ids = sorted(self._backing.sweep_ids(table)) if sweep_id is None else [sweep_id]
        for one in ids:
            try:
                paths = self._backing.files(table, one)
            except OSError as error:
                if error.errno is None:
                    raise  # of a bucket, whose listing is no matter of one sweep
                tell(of_error(self._layout.rows(table, one), table, one, error))
            else:
                yield Files(table, one, paths, self._backing.opened)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.name}: {error.strerror or error}") from error
