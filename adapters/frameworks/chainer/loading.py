"""Batches of a data set by Chainer's own iterators, decoded in the processes that read.

MultiprocessIterator's workers read and decode examples, several of each batch, and the caller's
process joins them, as Chainer's training loop does. SerialIterator does all when it is asked.
"""

import chainer
import numpy
from chainer.iterators import MultiprocessIterator, SerialIterator

from velodrome.adapters.contract import BATCHES_AHEAD, Batch
from velodrome.adapters.datasets.reading import RecordReader


class DatasetReader(object):
    """An endless iteration over a data set's batches, on the host in canonical layout."""

    def __init__(self, dataset, workers):
        records, size = _Records(dataset), dataset.batch_size
        if workers:
            # One more than these is in work: it waits until there is room for it.
            ahead = BATCHES_AHEAD * workers - 1
            self._batches = MultiprocessIterator(
                records, size, shuffle=False, n_processes=workers, n_prefetch=ahead
            )
        else:
            self._batches = SerialIterator(records, size, shuffle=False)

    def take(self):
        """Return the next batch."""
        found = chainer.dataset.concat_examples(next(self._batches))
        return Batch(*found) if isinstance(found, tuple) else Batch(found)

    def close(self):
        """End the workers."""
        self._batches.finalize()


class _Records(chainer.dataset.DatasetMixin):
    """The examples of a data set: the inputs, with their labels if there are any."""

    def __init__(self, dataset):
        self._reader = RecordReader(dataset)

    def __len__(self):
        return len(self._reader)

    def get_example(self, index):
        values, labels = self._reader.read_decoded(index)
        if labels is None:
            return values
        return values, labels if labels.ndim else numpy.int32(labels)
