"""A results folder: rows go in whole, once, and come out as tables.

A finished attempt is a file per table. All are written aside, then renamed, `tasks` last: with that
rename the attempt counts, before it nothing does. One process at a time works on a sweep.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from velodrome.agents.environments.versions import VersionLocks
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Node
from velodrome.scheduler.errors import ConfigError, StoreError, SweepBusy
from velodrome.scheduler.plans.expectations import TO_AGREE, Expected
from velodrome.scheduler.plans.planning import Plan
from velodrome.scheduler.results import compaction, parquet_files, plan_record, rows
from velodrome.scheduler.results.committed import COLUMNS, Committed, Identity, committed
from velodrome.scheduler.results.layout import COMPACTED, Layout, attempt_file, node_file
from velodrome.scheduler.results.opening import opened_to_read, opened_to_write
from velodrome.scheduler.results.sweep_ids import new_sweep_id, resolved
from velodrome.scheduler.results.sweep_lock import locked
from velodrome.scheduler.results.whole_files import told_plainly, write_all

__all__ = ["Store", "SweepSummary", "new_sweep_id"]

PATIENCE_S = 1.0  # another process may be clearing up after a crash, which is quick
READ_TRIES = 5
DEPENDENT = ("samples", "utilization", "parameters")  # count only with their row of `tasks`


@dataclass(frozen=True)
class SweepSummary:
    """planned counts runs and tasks that fit nowhere; 0 for a task that was measured by itself."""

    sweep_id: str
    planned: int
    finished: int
    with_number: int


class Store:
    """Opened to write: the folder is made, private, and tried. ConfigError if it cannot be.

    Writing raises StoreFull or StoreError, SweepBusy if another process works on the sweep.
    """

    def __init__(
        self, results: str | Path, open_layout: Callable[[str | Path], Layout] = opened_to_write
    ) -> None:
        self._layout = open_layout(results)
        self._held: dict[str, Committed] = {}
        for sweep_id in _names(self._layout.stagings):
            self._clear_if_abandoned(sweep_id)

    @classmethod
    def for_reading(cls, results: str | Path) -> "Store":
        """ConfigError if there is no such folder."""
        return cls(results, opened_to_read)

    @contextmanager
    def working_on(self, sweep_id: str) -> Iterator[None]:
        """Hold a sweep, so that no other process writes to it. Within itself it holds once."""
        if sweep_id in self._held:
            yield
            return
        with locked(self._layout.lock(sweep_id), PATIENCE_S):
            with told_plainly(self._layout.root):
                compaction.clear(self._layout, sweep_id)
            self._held[sweep_id] = self._committed(sweep_id)
            try:
                yield
            finally:
                del self._held[sweep_id]
                with suppress(OSError):  # what a compaction left aside stays until the next opening
                    self._layout.staging(sweep_id).rmdir()

    def begin(self, sweep_id: str, text: str, plan: Plan) -> None:
        """Keep the file's text and what is planned; begun before, what is new in the plan is added.

        ConfigError if it was begun with another text.
        """
        with self.working_on(sweep_id):
            record = plan_record.of_plan(plan)
            if self._layout.plan(sweep_id).exists():
                if self.sweep_text(sweep_id) != text:
                    mend = "Leave the sweep file out, or start a new sweep."
                    raise ConfigError(sweep_id, "was begun with another sweep file", mend)
                record = plan_record.joined(self._record(sweep_id), record)
            contents = {
                self._layout.text(sweep_id): pa.py_buffer(text.encode()),
                self._layout.plan(sweep_id): parquet_files.encoded(record),
            }
            self._write(sweep_id, contents)

    def sweep_text(self, sweep_id: str) -> str:
        """The text that the sweep was begun with. ConfigError if it was not."""
        path = self._layout.text(sweep_id)
        if not path.exists():
            mend = "It is a single task's; run that again by itself."
            raise ConfigError(sweep_id, "was not begun from a sweep file", mend)
        return path.read_bytes().decode()

    def sweep_file(self, sweep_id: str) -> Path:
        """Where that text is kept, to be loaded again. ConfigError as sweep_text."""
        self.sweep_text(sweep_id)
        return self._layout.text(sweep_id)

    def version_locks(self, sweep_id: str) -> VersionLocks:
        """Those of the frameworks that the sweep names at a version; empty before keep_locks."""
        return VersionLocks(self._layout.version_locks(sweep_id))

    def keep_locks(
        self, sweep_id: str, used: VersionLocks, versions: Iterable[tuple[str, str]]
    ) -> None:
        """Of (framework, device), so that the sweep can be gone on with by the same locks."""
        with self.working_on(sweep_id), told_plainly(self._layout.root):
            for framework, device in versions:
                used.copy_to(self.version_locks(sweep_id), framework, device)

    def numbers(self, sweep_id: str) -> dict[str, dict[str, int]]:
        """How the repeats of a sweep that was begun are numbered, for planning it again."""
        if not self._layout.plan(sweep_id).exists():
            return {}
        return plan_record.numbers(self._record(sweep_id))

    def put(self, sweep_id: str, measurement: Measurement, expected: Expected = TO_AGREE) -> bool:
        """Keep an attempt, on disk on return. False: its task was finished, and nothing is done."""
        with self.working_on(sweep_id):
            held = self._held[sweep_id]
            key = (measurement.task.key, measurement.repeat)
            if key in held.final:
                return False
            name = attempt_file(*key, measurement.attempt)
            tables = rows.tables(sweep_id, measurement, expected)
            self._drop(sweep_id, name)
            contents = {
                self._layout.rows(table, sweep_id) / name: parquet_files.encoded(tables[table])
                for table in sorted(tables, key="tasks".__eq__)
            }
            try:
                self._write(sweep_id, contents)
            except BaseException:
                if not (self._layout.rows("tasks", sweep_id) / name).exists():
                    self._drop(sweep_id, name)
                raise
            held.add(*key, measurement.attempt, measurement.status)
            return True

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
            self._write(sweep_id, contents)

    def nodes(self, sweep_id: str) -> tuple[Node, ...]:
        """Those that the sweep has on record, as far as it decides what fits on them."""
        found = self.read("nodes", sweep_id).to_pylist()
        return tuple(rows.node_of(row) for row in found)

    def finished(self, sweep_id: str) -> frozenset[Identity]:
        """Tasks and repeats that need no further attempt; one that was lost does."""
        return frozenset(self._committed(sweep_id).final)

    def next_attempt(self, sweep_id: str, task_id: str, repeat: int) -> int:
        return self._committed(sweep_id).attempts.get((task_id, repeat), 0) + 1

    def drop_orphans(self, sweep_id: str) -> int:
        """Remove what a crash left of attempts that do not count; how many files that were."""
        with self.working_on(sweep_id):
            known = {*self._held[sweep_id].files, COMPACTED}
            orphans = {
                file.name
                for table in DEPENDENT
                for file in self._layout.files(table, sweep_id)
                if file.name not in known
            }
            return sum(self._drop(sweep_id, name) for name in orphans)

    def compact(self, sweep_id: str) -> None:
        """One file per table. Killed at any instant, no row is missing or there twice."""
        with self.working_on(sweep_id), told_plainly(self._layout.root):
            self.drop_orphans(sweep_id)
            compaction.compact(self._layout, sweep_id)

    def sweep_ids(self) -> tuple[str, ...]:
        """Newest first: those that were begun, and those that have rows."""
        begun = {name for name in _names(self._layout.sweeps) if self._layout.plan(name).exists()}
        return tuple(sorted(begun | self._layout.sweep_ids("tasks"), reverse=True))

    def sweeps(self) -> tuple[SweepSummary, ...]:
        return tuple(self._summary(sweep_id) for sweep_id in self.sweep_ids())

    def resolve(self, text: str) -> str:
        """The sweep of an id, of its beginning, or `last`. ConfigError if that is no one sweep."""
        return resolved(text, self.sweep_ids(), str(self._layout.root))

    def read(self, table: str, sweep_id: str | None = None) -> pa.Table:
        """A table of one sweep, or of all. KeyError if there is no such table."""
        return self._read(table, sweep_id, None)

    def _summary(self, sweep_id: str) -> SweepSummary:
        plan = self._layout.plan(sweep_id)
        planned = self._record(sweep_id).num_rows if plan.exists() else 0
        found = self._read("tasks", sweep_id, COLUMNS)
        numbered = sum(Status(str(text)).has_number for text in found["status"].to_pylist())
        return SweepSummary(sweep_id, planned, len(committed(found).final), numbered)

    def _committed(self, sweep_id: str) -> Committed:
        if sweep_id in self._held:
            return self._held[sweep_id]
        return committed(self._read("tasks", sweep_id, COLUMNS))

    def _record(self, sweep_id: str) -> pa.Table:
        path = self._layout.plan(sweep_id)
        try:
            record = pq.read_table(path)
            record.validate(full=True)
            return record
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error

    def _read(self, table: str, sweep_id: str | None, columns: Sequence[str] | None) -> pa.Table:
        """A file that is gone was compacted since the folder was listed: it is listed again."""
        for _ in range(READ_TRIES):
            ids = [sweep_id] if sweep_id is not None else sorted(self._layout.sweep_ids(table))
            files = [file for one in ids for file in self._layout.files(table, one)]
            try:
                found = parquet_files.read(table, files, columns)
                found.validate(full=True)  # here, not where text that is no UTF-8 is used
                return found
            except FileNotFoundError:
                continue
            except (pa.ArrowInvalid, OSError) as error:
                raise StoreError(f"{self._layout.root}: {table} cannot be read: {error}") from error
        raise StoreError(f"{self._layout.root}: {table} changes faster than it can be read.")

    def _write(self, sweep_id: str, contents: Mapping[Path, pa.Buffer]) -> None:
        with told_plainly(self._layout.root, sum(content.size for content in contents.values())):
            write_all(contents, self._layout.staging(sweep_id))

    def _drop(self, sweep_id: str, name: str) -> int:
        """Remove an attempt's files that do not count by themselves; how many there were."""
        found = [self._layout.rows(table, sweep_id) / name for table in DEPENDENT]
        there = [path for path in found if path.exists()]
        for path in there:
            path.unlink()
        return len(there)

    def _clear_if_abandoned(self, sweep_id: str) -> None:
        with suppress(SweepBusy, StoreError, OSError), locked(self._layout.lock(sweep_id), 0):
            compaction.clear(self._layout, sweep_id)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
