"""Batches of a data set by Gluon's own DataLoader, each on the device.

A worker is a process, which decodes a whole batch into shared memory; the caller's process copies
it to the device.
"""

import mxnet
import numpy
from mxnet import nd
from mxnet.gluon.data import DataLoader

from velodrome.adapters.contract import BATCHES_AHEAD, Batch
from velodrome.adapters.datasets.reading import EndlessBatches, RecordReader
from velodrome.adapters.datasets.records import PIXELS, decode_pixels

SHARED = mxnet.Context("cpu_shared", 0)  # memory that a worker shares with the caller


class DatasetReader(object):
    """An endless iteration over a data set's batches, as Network's arguments."""

    def __init__(self, dataset, workers, context):
        self._context = context
        self._loader = DataLoader(
            _Records(dataset),
            batch_sampler=EndlessBatches(dataset),
            batchify_fn=_Collation(dataset.layout.kind, SHARED if workers else context),
            num_workers=workers,
            prefetch=BATCHES_AHEAD * workers,
        )
        self._batches = iter(self._loader)

    def take(self):
        """Return the next batch, whose copy the threaded engine may still make."""
        found = [array.as_in_context(self._context) for array in next(self._batches)]
        return found[0], found[1] if len(found) > 1 else None, None

    def close(self):
        """End the workers: Gluon does so when the loader is gone."""
        self._batches = self._loader = None


def read_batch(batch):
    """Return a batch on the host, in canonical layout."""
    inputs, labels, _ = batch
    values = inputs.asnumpy()
    values = values.swapaxes(0, 1) if has_steps(values) else values
    return Batch(values, None if labels is None else labels.asnumpy().T)


def has_steps(inputs):
    """Return True for inputs of sequences, which this adapter's network reads time first."""
    return inputs.dtype.kind == "i" or inputs.ndim == 3


class _Records(RecordReader):
    """The examples of a data set, as they are stored."""

    def __getitem__(self, index):
        return self.read(index)


class _Collation(object):
    """Makes the arrays of a batch from its examples, in the layout that the network reads."""

    def __init__(self, kind, context):
        self._kind, self._context = kind, context

    def __call__(self, examples):
        values = numpy.stack([example.values for example in examples])
        if self._kind == PIXELS:
            values = decode_pixels(values)
        arrays = [values.swapaxes(0, 1) if has_steps(values) else values]
        if examples[0].labels is not None:
            arrays.append(numpy.stack([example.labels for example in examples]).T)
        return [nd.array(array, ctx=self._context, dtype=array.dtype) for array in arrays]
