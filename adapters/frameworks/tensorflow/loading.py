"""Batches of a data set by tf.data, each on the device, as a dict of what the network reads.

The pipeline reads records of one length, makes batches of them and decodes a whole batch at once,
as TensorFlow's guide on the performance of tf.data advises. Its threads are the workers, in a pool
of their own. On a CPU they decode to float32; for a GPU they leave 8-bit pixels, a quarter of the
bytes, which are scaled on the device.
"""

import numpy
import tensorflow as tf

from velodrome.adapters.contract import BATCHES_AHEAD, Batch
from velodrome.adapters.datasets.records import CENTER, PIXELS, SCALE


class DatasetReader(object):
    """An endless iteration over a data set's batches. gpu: the device's name, empty for the CPU."""

    def __init__(self, dataset, workers, gpu, time_first):
        self._gpu, self._time_first, self._dataset = gpu, time_first, dataset
        self._scales_here = bool(gpu) and dataset.layout.kind == PIXELS
        with tf.device("/CPU:0"):
            records = tf.data.FixedLengthRecordDataset(
                [dataset.path], dataset.record_bytes, header_bytes=dataset.header_bytes
            )
            batches = records.repeat().batch(dataset.batch_size, drop_remainder=True)
            batches = _set_options(batches, workers)
            self._batches = iter(_read_ahead(batches, self._decode, workers, gpu))

    def take(self):
        """Return the next batch; on a GPU its copy may still run."""
        batch = next(self._batches)
        if not self._gpu:
            return batch
        with tf.device(self._gpu):
            batch = {name: tf.identity(tensor) for name, tensor in batch.items()}
            if self._scales_here:
                batch["inputs"] = _scale(batch["inputs"])
        return batch

    def close(self):
        """End the threads: TensorFlow does so when the iterator is gone."""
        self._batches = None

    def _decode(self, records):
        """Return the batch of records, a vector of strings."""
        layout, count = self._dataset.layout, self._dataset.batch_size
        head = tf.io.decode_raw(tf.strings.substr(records, 0, 4 * layout.head), tf.int32)
        head = tf.reshape(head, (count, layout.head))
        payload = tf.strings.substr(
            records, tf.fill((count,), 4 * layout.head), tf.reshape(head[:, -1], (count,))
        )
        if layout.kind == PIXELS:
            payload = tf.io.decode_compressed(payload, "ZLIB")
        values = tf.io.decode_raw(payload, tf.as_dtype(layout.stored_dtype))
        values = tf.reshape(values, (count,) + layout.stored_shape)
        if layout.kind == PIXELS and not self._scales_here:
            values = _scale(values)
        elif values.dtype == tf.int32:
            values = tf.cast(values, tf.int64)
        found = {"inputs": _swap(values, self._time_first)}
        if layout.label_shape is not None:
            labels = tf.reshape(head[:, :-1], (count,) + layout.label_shape)
            labels = tf.cast(labels, tf.int64)
            found["labels"] = _swap(labels, self._time_first and layout.label_shape)
        return found


def read_batch(batch, time_first):
    """Return a batch on the host, in canonical layout."""
    inputs, labels = batch["inputs"].numpy(), batch.get("labels")
    if inputs.ndim == 4:
        inputs = inputs.transpose(0, 3, 1, 2)
    elif time_first:
        inputs = inputs.swapaxes(0, 1)
    if inputs.dtype.kind == "i":
        inputs = inputs.astype(numpy.int32)
    if labels is None:
        return Batch(inputs)
    labels = labels.numpy().astype(numpy.int32)
    return Batch(inputs, labels.T if time_first else labels)


def _read_ahead(batches, decode, workers, gpu):
    """Decode by `workers` threads, with BATCHES_AHEAD batches for each; with none, when asked.

    As many batches are in work as there are workers; the others are finished and wait, on a GPU if
    there is one.
    """
    if not workers:
        return batches.map(decode)
    decoded = batches.map(decode, num_parallel_calls=workers, deterministic=True)
    waiting = workers * (BATCHES_AHEAD - 1)
    if not gpu:
        return decoded.prefetch(waiting)
    return decoded.apply(tf.data.experimental.prefetch_to_device(gpu, waiting))


def _set_options(batches, workers):
    options = tf.data.Options()
    options.threading.private_threadpool_size = max(1, workers)
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    options.experimental_optimization.inject_prefetch = False  # else it reads ahead unasked
    return batches.with_options(options)


def _swap(values, is_wanted):
    """Return the values with time before batch, if that is wanted."""
    if not is_wanted:
        return values
    return tf.transpose(values, [1, 0] + list(range(2, len(values.shape))))


def _scale(pixels):
    """Return float32 images of 8-bit ones."""
    return (tf.cast(pixels, tf.float32) - CENTER) / SCALE
