"""Batches of a data set by torch's own DataLoader, each on the device.

A worker is a process, with one thread. On a CPU it decodes to float32; for a GPU it leaves 8-bit
pixels, a quarter of the bytes, which are pinned, copied, and scaled on the device.
"""

import numpy
import torch
from torch.utils import data

from velodrome.adapters.contract import BATCHES_AHEAD, Batch
from velodrome.adapters.datasets.reading import EndlessBatches, RecordReader
from velodrome.adapters.datasets.records import CENTER, PIXELS, SCALE


class DatasetReader(object):
    """An endless iteration over a data set's batches, as (inputs, labels, None)."""

    def __init__(self, dataset, workers, device, memory_format, time_first):
        self._device, self._memory_format = device, memory_format
        on_gpu = device.type == "cuda"
        self._scales_here = on_gpu and dataset.layout.kind == PIXELS
        options = {"prefetch_factor": BATCHES_AHEAD} if workers else {}
        loader = data.DataLoader(
            _Records(dataset),
            batch_sampler=EndlessBatches(dataset),
            num_workers=workers,
            collate_fn=_Collation(memory_format, time_first, scales=not self._scales_here),
            pin_memory=on_gpu,
            **options,
        )
        self._batches = iter(loader)

    def take(self):
        """Return the next batch; on a GPU its copy may still run."""
        inputs, labels = next(self._batches)
        inputs = inputs.to(self._device, non_blocking=True)
        if self._scales_here:
            inputs = _scale(inputs, self._memory_format)
        if labels is not None:
            labels = labels.to(self._device, non_blocking=True)
        return inputs, labels, None

    def close(self):
        """End the workers: torch does so when the iterator is gone."""
        self._batches = None


def read_batch(batch, time_first):
    """Return a batch on the host, in canonical layout."""
    inputs, labels, _ = batch
    if time_first:
        inputs = inputs.transpose(0, 1)
        labels = None if labels is None else labels.transpose(0, -1)
    inputs = inputs.cpu().contiguous().numpy()
    if inputs.dtype.kind == "i":
        inputs = inputs.astype(numpy.int32)
    return Batch(inputs, None if labels is None else labels.cpu().numpy().astype(numpy.int32))


class _Records(RecordReader, data.Dataset):
    """The examples of a data set, as they are stored."""

    def __getitem__(self, index):
        return self.read(index)


class _Collation(object):
    """Makes the tensors of a batch from its examples, in the layout that the network reads."""

    def __init__(self, memory_format, time_first, scales):
        self._memory_format, self._time_first, self._scales = memory_format, time_first, scales

    def __call__(self, examples):
        values = numpy.stack([example.values for example in examples])
        if values.dtype.kind == "i":
            values = values.astype(numpy.int64)
        inputs = torch.from_numpy(values)
        if values.dtype == numpy.uint8:
            inputs = inputs.permute(0, 3, 1, 2)
            if self._scales:
                inputs = _scale(inputs, self._memory_format)
        labels = None
        if examples[0].labels is not None:
            found = numpy.stack([example.labels for example in examples])
            labels = torch.from_numpy(found.astype(numpy.int64))
        if not self._time_first:
            return inputs, labels
        if labels is not None:
            labels = labels.transpose(0, -1).contiguous()  # per step, or per example
        return inputs.transpose(0, 1).contiguous(), labels


def _scale(pixels, memory_format):
    """Return float32 images of 8-bit ones."""
    values = pixels.to(torch.float32, memory_format=memory_format)
    return values.sub_(CENTER).div_(SCALE)
