"""A store backend for a bucket of an object store, where nothing can be renamed.

Rows count once their object of `tasks` exists, which is put last. A compacted object counts once
the sweep's manifest names it.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath

import pyarrow as pa
import pyarrow.fs as pafs

from velodrome.scheduler.errors import StoreError
from velodrome.scheduler.results import bucket_manifest as manifests
from velodrome.scheduler.results import parquet_files
from velodrome.scheduler.results.atomic_files import as_store_error
from velodrome.scheduler.results.bucket_manifest import Manifest
from velodrome.scheduler.results.deduplication import Files
from velodrome.scheduler.results.derived_columns import Fills
from velodrome.scheduler.results.file_faults import refuse_lost_rows
from velodrome.scheduler.results.file_validation import Opened
from velodrome.scheduler.results.layout import Layout, are_rows, in_order, is_rows
from velodrome.scheduler.results.lease import Lease
from velodrome.scheduler.results.object_store import Objects
from velodrome.scheduler.results.schema import TABLES

LIST_TRIES = 5


class Bucket:
    """Stores results in a bucket; see velodrome.scheduler.results.backend."""

    def __init__(self, name: str, root: PurePosixPath, objects: Objects) -> None:
        self.layout: Layout[PurePosixPath] = Layout(root)
        self.name = name
        self.objects = objects
        self._claims: dict[str, Lease] = {}
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    @property
    def filesystem(self) -> pafs.FileSystem:
        return self.objects.filesystem

    @contextmanager
    def hold(self, sweep_id: str) -> Iterator[None]:
        place = f"{self.name}, sweep {sweep_id}"
        claim = Lease(self.objects, self.layout.claims(sweep_id), place)
        with as_store_error(self.name):
            claim.take()
        self._claims[sweep_id] = claim
        try:
            yield
        finally:
            del self._claims[sweep_id]
            claim.leave()

    def clear(self) -> None:
        """Do nothing: no reader sees the leftovers, and the next holder removes them."""

    def write(self, sweep_id: str, contents: Mapping[PurePath, pa.Buffer]) -> None:
        if not contents:
            return
        self._claims[sweep_id].require()
        with as_store_error(self.name, sum(content.size for content in contents.values())):
            *first, last = contents.items()
            self.objects.put_all(first)
            self.objects.put(*last)

    def exists(self, path: PurePath) -> bool:
        return self.objects.exists(path)

    def content(self, path: PurePath) -> bytes:
        return self.objects.get(path)

    def remove(self, paths: Iterable[PurePath]) -> None:
        self.objects.remove(paths)

    def files(self, table: str, sweep_id: str) -> list[PurePath]:
        """List committed files between two equal readings of the manifest."""
        manifest = self._read_manifest(sweep_id)
        for _ in range(LIST_TRIES):
            found = self._list_rows(table, sweep_id)
            before, manifest = manifest, self._read_manifest(sweep_id)
            if manifest == before:
                return in_order(path for path in found if manifest.counts(table, path.name))
        raise StoreError(f"{self.name}: sweep {sweep_id} changes faster than it can be listed.")

    def list_all(self, table: str) -> list[PurePath]:
        folder = self.layout.table(table)
        return [path for path in self.objects.paths(folder) if are_rows(path.relative_to(folder))]

    def sweep_ids(self, table: str) -> set[str]:
        names = self.objects.names(self.layout.table(table))
        return {name.removeprefix("sweep=") for name in names if name.startswith("sweep=")}

    def list_started(self) -> set[str]:
        paths = self.objects.paths(self.layout.sweeps)
        return {path.parent.name for path in paths if path == self.layout.plan(path.parent.name)}

    def opened(self, paths: Iterable[PurePath]) -> Iterator[tuple[PurePath, Opened]]:
        return self.objects.opened(paths)

    def compact(self, sweep_id: str, fills: Fills) -> None:
        with as_store_error(self.name):
            before = self._read_manifest(sweep_id)
            if before.turn:
                self._remove_replaced(sweep_id, before)  # if that was cut off
            there = {table: self.files(table, sweep_id) for table in TABLES}
            to_do = {table: paths for table, paths in there.items() if _is_loose(paths, before)}
            if not to_do:
                return
            name = manifests.compacted_name(before.turn + 1)
            for table, paths in to_do.items():
                target = self.layout.rows(table, sweep_id) / name
                self._merge(Files(table, sweep_id, paths, self.objects.opened), target, fills)
            replaced = {
                table: frozenset(path.name for path in paths) for table, paths in to_do.items()
            }
            compacted = {**before.compacted, **dict.fromkeys(to_do, name)}
            self._claims[sweep_id].require()
            after = Manifest(before.turn + 1, compacted, replaced)
            content = pa.py_buffer(manifests.encode(after))
            self.objects.put(self.layout.manifest(sweep_id), content)
            self._remove_replaced(sweep_id, after)

    def fetch_folder(self, folder: PurePath) -> Path:
        """Copy a folder to this machine for as long as this object lives."""
        copy = self._copy(folder)
        for path in self.objects.paths(folder):
            target = copy / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.objects.get(path))
        return copy

    def keep_folder(self, folder: PurePath, fill: Callable[[Path], None]) -> None:
        copy = self._copy(folder)
        fill(copy)
        files = sorted(path for path in copy.rglob("*") if path.is_file())
        contents = [
            (folder / path.relative_to(copy), pa.py_buffer(path.read_bytes())) for path in files
        ]
        with as_store_error(self.name):
            self.objects.put_all(contents)

    def _copy(self, folder: PurePath) -> Path:
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="velodrome-results-")
        return Path(self._copies.name) / PurePosixPath(folder).relative_to(self.layout.root)

    def _read_manifest(self, sweep_id: str) -> Manifest:
        path = self.layout.manifest(sweep_id)
        try:
            return manifests.decode(self.objects.get(path), f"{self.name}: {path.name}")
        except FileNotFoundError:
            return Manifest()

    def _list_rows(self, table: str, sweep_id: str) -> list[PurePath]:
        folder = self.layout.rows(table, sweep_id)
        found = self.objects.paths(folder)
        return [path for path in found if path.parent == folder and is_rows(path.name)]

    def _merge(self, files: Files, target: PurePath, fills: Fills) -> None:
        """Merge into a local file first: an interrupted put must not leave a partial object."""
        with tempfile.TemporaryFile() as file:
            parquet_files.merge(files, file, fills, refuse_lost_rows)
            file.seek(0)
            self.objects.put_file(target, file)

    def _remove_replaced(self, sweep_id: str, manifest: Manifest) -> None:
        """Remove replaced objects, and those that an interrupted compaction did not name."""
        for table in TABLES:
            found = self._list_rows(table, sweep_id)
            self.objects.remove(path for path in found if not manifest.counts(table, path.name))


def _is_loose(paths: list[PurePath], manifest: Manifest) -> bool:
    return len(paths) > 1 or (len(paths) == 1 and paths[0].name not in manifest.compacted.values())
