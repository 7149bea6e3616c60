"""The records of a data set: each one example, drawn from a seed, encoded, and decoded again.

A record holds its labels and the length of its payload, each a little-endian int32, then the
payload, padded with zeros to the longest. An image's payload is its 8-bit pixels (height, width,
channels), compressed by zlib as in a PNG file, to about half; any other payload is the example's
float32 or int32 values as they are. Values of an image are (pixel - 128) / 32, which is exact in
float32 and about as large as those of the batches that are timed without a loader.
"""

import zlib
from typing import NamedTuple, Optional, Tuple

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Model
from velodrome.adapters.proof import seeding

PIXELS = "pixels"
CENTER, SCALE = 128.0, 32.0  # of pixels
# Squares of one level, with noise on top, in few steps: most is 16 * (12 + 2). zlib compresses that
# to half, and finds little to repeat, as in a photograph that PNG has filtered.
BLOCK, STEP, LEVELS, NOISE = 8, 16, 13, 3
COMPRESSION = 1  # the quickest of zlib; it inflates as quickly as any other
# Purposes of data sets, each with values of its own: one is timed, the others have never been read.
TIMED, FRESH = "timed", ("fresh 1", "fresh 2", "fresh 3")
# Attempts of velodrome.adapters.proof.seeding that no reference uses, by purpose.
ATTEMPTS = {purpose: 2**20 + place for place, purpose in enumerate((TIMED,) + FRESH)}
_INT32 = numpy.dtype("<i4")


class RecordLayout(NamedTuple):
    """The content of one record.

    shape: of an example's inputs, canonical. kind: PIXELS, or `float32` or `int32` for raw values.
    label_shape: () for one label, (time,) for one a step; None without labels.
    """

    shape: Tuple[int, ...]
    kind: str
    label_shape: Optional[Tuple[int, ...]]

    @property
    def head(self) -> int:
        """Return the number of int32 before the payload: labels, and its length."""
        return 1 + (0 if self.label_shape is None else shapes.count_values(self.label_shape))

    @property
    def stored_shape(self) -> Tuple[int, ...]:
        """Return the shape of the payload's values: channels last for pixels."""
        return self.shape[1:] + self.shape[:1] if self.kind == PIXELS else self.shape

    @property
    def stored_dtype(self) -> numpy.dtype:
        return numpy.dtype("uint8") if self.kind == PIXELS else numpy.dtype(self.kind)


class DatasetFile(NamedTuple):
    """A file of records, behind a header of `header_bytes`; `batches` of `batch_size` in a row."""

    path: str
    layout: RecordLayout
    header_bytes: int
    record_bytes: int
    batch_size: int
    batches: int

    @property
    def records(self) -> int:
        return self.batches * self.batch_size


class Example(NamedTuple):
    """One example as it is stored: values in the layout's stored shape, labels int32 or None."""

    values: numpy.ndarray
    labels: Optional[numpy.ndarray]


def find_layout(model: Model) -> RecordLayout:
    """Return the layout of a model's records; shapes.has_records must be true of it."""
    label_shape: Optional[Tuple[int, ...]] = ()
    if model.classes == 0:
        label_shape = None
    elif isinstance(model.loss, kinds.StepCrossEntropy):
        label_shape = shapes.compute_output_shapes(model)[model.layers[-1].name][:1]
    kind = "float32"
    if isinstance(model.input, kinds.Images):
        kind = PIXELS
    elif isinstance(model.input, kinds.Tokens):
        kind = "int32"
    return RecordLayout(shapes.compute_input_shape(model), kind, label_shape)


def draw_example(model: Model, seed: int, purpose: str, index: int) -> Example:
    """Draw example `index` of a data set. purpose: TIMED, or one of FRESH."""
    layout = find_layout(model)
    labels = None
    if layout.label_shape is not None:
        stream = seeding.make_stream(seed, "label", purpose, index)
        drawn = stream.randint(0, model.classes, size=layout.label_shape, dtype=numpy.int32)
        labels = numpy.asarray(drawn, numpy.int32)
    if layout.kind == PIXELS:
        stream = seeding.make_stream(seed, "pixels", purpose, index)
        return Example(_draw_pixels(stream, layout.stored_shape), labels)
    return Example(seeding.draw_example(model, seed, index, ATTEMPTS[purpose]), labels)


def draw_batch(model: Model, batch_size: int, seed: int, purpose: str, number: int) -> Batch:
    """Draw batch `number` of a data set in canonical layout, as a loader must give it."""
    layout = find_layout(model)
    places = range(number * batch_size, (number + 1) * batch_size)
    examples = [draw_example(model, seed, purpose, place) for place in places]
    values = numpy.stack([example.values for example in examples])
    if layout.kind == PIXELS:
        values = decode_pixels(values)
    if layout.label_shape is None:
        return Batch(values)
    return Batch(values, numpy.array([example.labels for example in examples], numpy.int32))


def decode_pixels(pixels: numpy.ndarray) -> numpy.ndarray:
    """Return float32 images (n, channels, height, width) of pixels (n, height, width, channels)."""
    values = (pixels.astype(numpy.float32) - numpy.float32(CENTER)) / numpy.float32(SCALE)
    return numpy.ascontiguousarray(values.transpose(0, 3, 1, 2))


def encode_example(example: Example, layout: RecordLayout) -> bytes:
    """Return a record without its padding."""
    content = numpy.ascontiguousarray(example.values).tobytes()
    if layout.kind == PIXELS:
        content = zlib.compress(content, COMPRESSION)
    labels = [] if example.labels is None else example.labels.reshape(-1).tolist()
    return numpy.array([*labels, len(content)], _INT32).tobytes() + content


def decode_record(record: bytes, layout: RecordLayout) -> Example:
    """Return the example of a record; its arrays may be views of it."""
    head = numpy.frombuffer(record, _INT32, layout.head)
    start = head.nbytes
    content = record[start : start + int(head[-1])]
    if layout.kind == PIXELS:
        content = zlib.decompress(content)
    values = numpy.frombuffer(content, layout.stored_dtype).reshape(layout.stored_shape)
    if layout.label_shape is None:
        return Example(values, None)
    return Example(values, head[:-1].reshape(layout.label_shape))


def _draw_pixels(draw: numpy.random.RandomState, shape: Tuple[int, ...]) -> numpy.ndarray:
    height, width, channels = shape
    coarse = (-(-height // BLOCK), -(-width // BLOCK), channels)
    levels = draw.randint(0, LEVELS, size=coarse, dtype=numpy.uint8)
    squares = levels.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[:height, :width]
    noise = draw.randint(0, NOISE, size=shape, dtype=numpy.uint8)
    return numpy.asarray((squares + noise) * numpy.uint8(STEP))
