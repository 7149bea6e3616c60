"""Access to the objects of a bucket through pyarrow's file systems.

An object store has no folders and no renames. An object exists, whole, once its put or the last
part of it is answered. Every later listing or get sees it: Amazon S3 (since 2020), Google, MinIO.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import PurePath, PurePosixPath
from typing import BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from velodrome.scheduler.results.file_validation import Opened

AT_ONCE = 16  # requests under way: each is mostly waiting
SMALL_BYTES = 2**24  # got by one request instead of by their parts
PART_BYTES = 2**23
UNREACHABLE = ("NETWORK_CONNECTION", "resolve", "UNAVAILABLE", "Unavailable", "timed out")
"""What the clients of Amazon's and of Google's store say where no store answers."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Objects:
    """Reads and writes objects. Failures are OSError, FileNotFoundError for missing objects."""

    def __init__(self, filesystem: pafs.FileSystem) -> None:
        self.filesystem = filesystem

    def put(self, path: PurePath, content: pa.Buffer) -> None:
        with self.filesystem.open_output_stream(str(path)) as stream:
            stream.write(content)

    def put_file(self, path: PurePath, file: BinaryIO) -> None:
        """Put a file from its current position to its end, in parts."""
        with self.filesystem.open_output_stream(str(path)) as stream:
            while part := file.read(PART_BYTES):
                stream.write(part)

    def put_all(self, contents: Sequence[tuple[PurePath, pa.Buffer]]) -> None:
        """Put objects in parallel; returns when all are there."""
        list(self.each(lambda entry: self.put(*entry), contents))

    def get(self, path: PurePath) -> bytes:
        with self.filesystem.open_input_stream(str(path)) as stream:
            return bytes(stream.read())

    def exists(self, path: PurePath) -> bool:
        return self.filesystem.get_file_info(str(path)).type == pafs.FileType.File

    def has_folder(self, name: str) -> bool:
        """Return True if there is such a bucket."""
        return self.filesystem.get_file_info(name).type == pafs.FileType.Directory

    def infos(self, folder: PurePath) -> list[pafs.FileInfo]:
        """List objects at any depth below a folder; empty if it does not exist."""
        selector = pafs.FileSelector(str(folder), allow_not_found=True, recursive=True)
        found = self.filesystem.get_file_info(selector)
        return [info for info in found if info.type == pafs.FileType.File]

    def paths(self, folder: PurePath) -> list[PurePath]:
        """List the paths of objects below a folder, sorted."""
        return sorted(PurePosixPath(info.path) for info in self.infos(folder))

    def names(self, folder: PurePath) -> set[str]:
        """List names directly below a folder: objects, and first parts of longer names."""
        if self.filesystem.type_name == "s3":
            selector = pafs.FileSelector(str(folder), allow_not_found=True)
            return {info.base_name for info in self.filesystem.get_file_info(selector)}
        # pyarrow lists of Google's store only such folders as somebody has made an object for.
        depth = len(folder.parts)
        return {path.parts[depth] for path in self.paths(folder)}

    def remove(self, paths: Iterable[PurePath]) -> None:
        """Remove objects; missing ones are fine."""
        list(self.each(self._remove, paths))

    def opened(self, paths: Iterable[PurePath]) -> Iterator[tuple[PurePath, Opened]]:
        """Open Parquet objects in order, some ahead. OSError if the store is unreachable."""
        return self.each(self._opened, paths)

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Run `work` on several items at once, in bounded batches to save memory."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for some in _batched(items, 2 * AT_ONCE):
                yield from pool.map(work, some)

    def _remove(self, path: PurePath) -> None:
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(str(path))

    def _opened(self, path: PurePath) -> tuple[PurePath, Opened]:
        try:
            return path, self._parquet(path)
        except (OSError, pa.ArrowException) as error:
            if any(words in str(error) for words in UNREACHABLE):
                raise  # it is not this object's fault
            return path, error

    def _parquet(self, path: PurePath) -> pq.ParquetFile:
        file = self.filesystem.open_input_file(str(path))
        if file.size() > SMALL_BYTES:
            return pq.ParquetFile(file, pre_buffer=True)
        with file:
            return pq.ParquetFile(pa.BufferReader(file.read_buffer()))


def _batched(items: Iterable[Item], count: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while some := list(islice(rest, count)):
        yield some
