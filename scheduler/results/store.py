"""The store of results: writes whole files of rows, each row once, for one process at a time.

Attempts are written as one file per table, that of `tasks` last: rows count once it exists. How
files are written is up to velodrome.scheduler.results.folder and .bucket.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

import pyarrow as pa

from velodrome.agents.environments.versions import VersionLocks
from velodrome.agents.measurement import Measurement
from velodrome.agents.node import Node
from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE, ExpectedOutcome
from velodrome.scheduler.plans.placement import Plan
from velodrome.scheduler.results import parquet_files, plan_record, rows
from velodrome.scheduler.results.backend import Backend
from velodrome.scheduler.results.committed_attempts import CommittedAttempts, SweepSummary
from velodrome.scheduler.results.derived_columns import ceiling_fills, without_tasks
from velodrome.scheduler.results.file_faults import refuse_lost_rows
from velodrome.scheduler.results.layout import group_file, is_ours, node_file
from velodrome.scheduler.results.preflight import open_to_read, open_to_write
from velodrome.scheduler.results.store_reader import StoreReader
from velodrome.scheduler.results.sweep_ids import new_sweep_id

__all__ = ["Store", "SweepSummary", "new_sweep_id"]

DEPENDENT = ("samples", "utilization", "parameters")  # count only with their row of `tasks`


class Store(StoreReader):
    """Reads and writes results; makes a private folder if there is none. ConfigError if it cannot.

    results: a folder, or s3:// or gs:// and a bucket. Writing raises StoreFull or StoreError,
    SweepBusy if another process holds the sweep.
    """

    def __init__(
        self, results: str | Path, open_backend: Callable[[str | Path], Backend] = open_to_write
    ) -> None:
        super().__init__(open_backend(results))
        self._held: dict[str, CommittedAttempts] = {}
        self._report = refuse_lost_rows
        self._backend.clear()

    @classmethod
    def for_reading(cls, results: str | Path) -> "Store":
        """Open results to read what is sound; see `faults`. ConfigError if there are none."""
        return cls(results, open_to_read).reader()

    def reader(self) -> "Store":
        found = super().reader()
        if found is not self:
            found._held = {}
        return found

    @contextmanager
    def hold_sweep(self, sweep_id: str) -> Iterator[None]:
        """Hold a sweep so that no other process writes to it. Reentrant. SweepBusy if held."""
        if sweep_id in self._held:
            yield
            return
        with self._backend.hold(sweep_id):
            self._held[sweep_id] = self._committed(sweep_id)
            try:
                yield
            finally:
                del self._held[sweep_id]

    def _committed(self, sweep_id: str) -> CommittedAttempts:
        return self._held.get(sweep_id) or super()._committed(sweep_id)

    def begin(self, sweep_id: str, text: str, plan: Plan) -> None:
        """Write the sweep file and the plan, or add what is new in the plan of a begun sweep.

        ConfigError if the sweep was begun with another sweep file.
        """
        with self.hold_sweep(sweep_id):
            record = plan_record.build_record(plan)
            if self._is_begun(sweep_id):
                if self.sweep_text(sweep_id) != text:
                    mend = "Leave the sweep file out, or start a new sweep."
                    raise ConfigError(sweep_id, "this sweep began with another sweep file", mend)
                record = plan_record.join(self._record(sweep_id), record)
            contents = {
                self._layout.text(sweep_id): pa.py_buffer(text.encode()),
                self._layout.plan(sweep_id): parquet_files.encode(record),
            }
            self._backend.write(sweep_id, contents)

    def withdraw_unplanned(self, sweep_id: str, planned: Collection[str]) -> None:
        """Remove unfinished tasks that are no longer planned. Compaction removes their rows.

        A node or environment that was missing before may turn a cell into another task: with
        another number of threads, or another lock.
        """
        with self.hold_sweep(sweep_id):
            record = self._record(sweep_id)
            gone = plan_record.tasks(record) - self._held[sweep_id].ended - set(planned)
            if gone:
                left = parquet_files.encode(plan_record.without(record, gone))
                self._backend.write(sweep_id, {self._layout.plan(sweep_id): left})

    def _find_withdrawn(self, sweep_id: str) -> frozenset[str]:
        """Return the tasks that have rows, no final attempt, and are no longer planned."""
        if not self._is_begun(sweep_id):
            return frozenset()
        held = self._held[sweep_id]
        planned = plan_record.tasks(self._record(sweep_id))
        return frozenset({key for key, _ in held.attempts} - held.ended - planned)

    def keep_locks(
        self, sweep_id: str, used: VersionLocks, versions: Iterable[tuple[str, str]]
    ) -> None:
        """Copy the locks of (framework, device) pairs, so that --resume uses the same locks."""

        def fill(folder: Path) -> None:
            for framework, device in versions:
                used.copy_to(VersionLocks(folder), framework, device)

        with self.hold_sweep(sweep_id):
            self._backend.keep_folder(self._layout.version_locks(sweep_id), fill)

    def put(
        self, sweep_id: str, measurement: Measurement, expected: ExpectedOutcome = TO_AGREE
    ) -> bool:
        """Write an attempt to disk. Return False, and write nothing, if its task is finished."""
        return self.put_all(sweep_id, [(measurement, expected)]) == 1

    def put_all(self, sweep_id: str, ended: Iterable[tuple[Measurement, ExpectedOutcome]]) -> int:
        """Write attempts to disk, all or none; return how many. Skips those of finished tasks.

        They share a file per table, since creating files costs most.
        """
        with self.hold_sweep(sweep_id):
            held = self._held[sweep_id]
            new = held.select_new(ended)
            if not new:
                return 0
            if not held.is_tidy:
                self.drop_orphans(sweep_id)
            contents = self._encode_files(sweep_id, group_file(new), tuple(new.values()))
            held.is_tidy = False
            try:
                self._backend.write(sweep_id, contents)
            except BaseException:
                with suppress(StoreError):
                    self.drop_orphans(sweep_id)
                raise
            held.is_tidy = True
            for key, (measurement, _) in new.items():
                held.add(*key, measurement.status)
            return len(new)

    def _encode_files(
        self, sweep_id: str, name: str, ended: Sequence[tuple[Measurement, ExpectedOutcome]]
    ) -> dict[PurePath, pa.Buffer]:
        tables = rows.build_group_tables(sweep_id, ended)
        return {
            self._layout.rows(table, sweep_id) / name: parquet_files.encode(tables[table])
            for table in sorted(tables, key="tasks".__eq__)
        }

    def put_nodes(self, sweep_id: str, nodes: Sequence[Node]) -> None:
        """Write the inventory of nodes that the sweep does not have yet."""
        with self.hold_sweep(sweep_id):
            known = set(self.read("nodes", sweep_id)["node_id"].to_pylist())
            folder = self._layout.rows("nodes", sweep_id)
            new = {node.node_id: rows.node_row(sweep_id, node) for node in nodes}
            contents = {
                folder / node_file(node_id): parquet_files.encode(rows.to_table("nodes", [row]))
                for node_id, row in new.items()
                if node_id not in known
            }
            self._backend.write(sweep_id, contents)

    def drop_orphans(self, sweep_id: str) -> int:
        """Remove files that a crash left of uncommitted attempts; return their number."""
        with self.hold_sweep(sweep_id):
            with self._as_store_error():
                # Committed: in a file of `tasks`, loose or compacted.
                known = {path.name for path in self._backend.files("tasks", sweep_id)}
                known |= self._held[sweep_id].files
                orphans = [
                    path
                    for table in DEPENDENT
                    for path in self._backend.files(table, sweep_id)
                    if path.name not in known and is_ours(path.name)
                ]
                self._backend.remove(orphans)
            self._held[sweep_id].is_tidy = True
            return len(orphans)

    def compact(self, sweep_id: str) -> None:
        """Merge files into one per table. A kill at any instant loses and doubles no row."""
        with self.hold_sweep(sweep_id):
            self.drop_orphans(sweep_id)
            applied = without_tasks(
                ceiling_fills(self.ceilings(sweep_id)), self._find_withdrawn(sweep_id)
            )
            self._backend.compact(sweep_id, applied)
