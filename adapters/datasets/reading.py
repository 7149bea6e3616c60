"""Reader of single records of a data set's file, for loaders that ask for examples by number."""

import os
from typing import Iterator, List

from velodrome.adapters.datasets.records import (
    PIXELS,
    DatasetFile,
    Example,
    decode_pixels,
    decode_record,
)


class RecordReader(object):
    """The examples of a data set by their number. Each process opens the file itself."""

    def __init__(self, dataset: DatasetFile) -> None:
        self._dataset, self._descriptor, self._owner = dataset, -1, 0

    def __len__(self) -> int:
        return self._dataset.records

    def read(self, index: int) -> Example:
        """Return an example as it is stored: an image in 8-bit pixels, channels last."""
        if self._owner != os.getpid():
            self._descriptor, self._owner = os.open(self._dataset.path, os.O_RDONLY), os.getpid()
        size = self._dataset.record_bytes
        start = self._dataset.header_bytes + index * size
        return decode_record(os.pread(self._descriptor, size, start), self._dataset.layout)

    def read_decoded(self, index: int) -> Example:
        """Return an example as a model reads it: an image in float32, channels first."""
        example = self.read(index)
        if self._dataset.layout.kind != PIXELS:
            return example
        return example._replace(values=decode_pixels(example.values[None])[0])

    def __del__(self) -> None:
        if self._owner == os.getpid():
            os.close(self._descriptor)


class EndlessBatches(object):
    """The numbers of each batch's examples, in the order of the file, over and over."""

    def __init__(self, dataset: DatasetFile) -> None:
        size = dataset.batch_size
        self._batches = [list(range(at, at + size)) for at in range(0, dataset.records, size)]

    def __iter__(self) -> Iterator[List[int]]:
        while True:
            for batch in self._batches:
                yield batch
