"""The objects of a bucket, each put whole: pyarrow's file systems, less what they pretend.

An object store has no folders and renames nothing; an object is there from the moment at which its
put, or the last request of a put in parts, is answered, and never in part. Since 2020 (Amazon S3)
whoever lists or gets after that sees it, as with Google's and MinIO.
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
    """Failures are OSError, FileNotFoundError for what is not there."""

    def __init__(self, filesystem: pafs.FileSystem) -> None:
        self.filesystem = filesystem

    def put(self, path: PurePath, content: pa.Buffer) -> None:
        with self.filesystem.open_output_stream(str(path)) as stream:
            stream.write(content)

    def put_file(self, path: PurePath, file: BinaryIO) -> None:
        """From where the file stands to its end, in parts. It must be readable to its end."""
        with self.filesystem.open_output_stream(str(path)) as stream:
            while part := file.read(PART_BYTES):
                stream.write(part)

    def put_all(self, contents: Sequence[tuple[PurePath, pa.Buffer]]) -> None:
        """Returns when all are there."""
        list(self.each(lambda entry: self.put(*entry), contents))

    def get(self, path: PurePath) -> bytes:
        with self.filesystem.open_input_stream(str(path)) as stream:
            return bytes(stream.read())

    def exists(self, path: PurePath) -> bool:
        return self.filesystem.get_file_info(str(path)).type == pafs.FileType.File

    def has_folder(self, name: str) -> bool:
        """Whether there is such a bucket."""
        return self.filesystem.get_file_info(name).type == pafs.FileType.Directory

    def infos(self, folder: PurePath) -> list[pafs.FileInfo]:
        """Of what is right below, or right below that and so on: none if there is no such thing."""
        selector = pafs.FileSelector(str(folder), allow_not_found=True, recursive=True)
        found = self.filesystem.get_file_info(selector)
        return [info for info in found if info.type == pafs.FileType.File]

    def paths(self, folder: PurePath) -> list[PurePath]:
        """Sorted."""
        return sorted(PurePosixPath(info.path) for info in self.infos(folder))

    def names(self, folder: PurePath) -> set[str]:
        """Of what is right below: objects, and the first parts of longer names."""
        if self.filesystem.type_name == "s3":
            selector = pafs.FileSelector(str(folder), allow_not_found=True)
            return {info.base_name for info in self.filesystem.get_file_info(selector)}
        # pyarrow lists of Google's store only such folders as somebody has made an object for.
        depth = len(folder.parts)
        return {path.parts[depth] for path in self.paths(folder)}

    def remove(self, paths: Iterable[PurePath]) -> None:
        """What is gone already is fine."""
        list(self.each(self._remove, paths))

    def opened(self, paths: Iterable[PurePath]) -> Iterator[tuple[PurePath, Opened]]:
        """In their order; some are got before they are asked for. OSError if none can be asked."""
        return self.each(self._opened, paths)

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Several at once, but not all, so that what they return need not be held at once."""
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
