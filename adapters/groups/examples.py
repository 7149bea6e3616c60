"""The share of each batch that belongs to one process of a group."""

from typing import List, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Batch, map_arrays


def split_batches(batches: Sequence[Batch], size: int) -> List[Tuple[Batch, ...]]:
    """Return for each of `size` processes its examples of every batch, in order, equally many."""
    return [tuple(take_share(batch, rank, size) for batch in batches) for rank in range(size)]


def take_share(batch: Batch, rank: int, size: int) -> Batch:
    """Return one process's examples of a batch, which `size` divides. Padding stays."""
    count = len(batch.inputs) // size

    def take(array: numpy.ndarray) -> numpy.ndarray:
        return numpy.ascontiguousarray(array[rank * count : (rank + 1) * count])

    return map_arrays(take, batch)
