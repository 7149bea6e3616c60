"""Weights and batches drawn from a seed, equal to the byte in every framework.

Every array has its own stream, a `numpy.random.RandomState` seeded by a hash of the seed and the
array's purpose: a further layer changes no other weights, and a larger batch begins with the
smaller one. RandomState is used because NumPy has frozen its streams (NEP 19), so the interpreters
of old and new frameworks draw alike. Values are drawn in float64 and rounded once.
"""

import hashlib
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import (
    Code,
    Model,
    NoLoss,
    Sequences,
    StepCrossEntropy,
    Tokens,
    Vectors,
)

BIAS_SCALE = 0.1
NORM_SCALE = 0.1
INTEGERS = 65536.0
TIMED, FRESH = 2, 2  # batches of one shape in a pass; batches that no timed call has used
FIRST_FRESH = 64  # attempts from which on a sequence's fresh tokens are drawn
_CHUNK = 2**20  # values drawn at a time: an even number, so that chunks do not change the stream


def draw_weights(model: Model, seed: int) -> Dict[str, numpy.ndarray]:
    """Draw float32 arrays in canonical layout, keyed `layer.role`.

    Normal with standard deviation 1 / sqrt(fan_in), biases with BIAS_SCALE; the scales of a
    normalization with NORM_SCALE of the value that they are about. Code draws its own by a seed.
    """
    if isinstance(model.input, Code):
        return {"seed": numpy.array(make_stream(seed, "weights").randint(2**31 - 1))}
    return {entry.name: draw_values(entry, seed) for entry in shapes.list_parameters(model)}


def draw_values(entry: shapes.Parameter, seed: int, purpose: str = "weight") -> numpy.ndarray:
    """Draw the values of one parameter; another purpose gives other values."""
    draw = make_stream(seed, purpose, entry.name)
    if entry.role == "scale":
        values = _draw_array(draw.standard_normal, entry.shape, NORM_SCALE * entry.center)
        return values + numpy.float32(entry.center)
    if not entry.role.startswith("bias"):
        return _draw_array(draw.standard_normal, entry.shape, entry.fan_in**-0.5)
    values = _draw_array(draw.standard_normal, entry.shape, BIAS_SCALE)
    if not entry.center:
        return values
    signs = 2 * make_stream(seed, purpose, entry.name, "signs").randint(0, 2, entry.shape) - 1
    return values + (entry.center * signs).astype(numpy.float32)


def count_batches(model: Model, batch_size: int) -> int:
    """Count the batches in one pass: TIMED, or for sequences as many as the examples fill.

    ValueError if they do not fill a single one.
    """
    if batch_size < 1:
        raise ValueError("a batch of {} examples. Give 1 or more".format(batch_size))
    if not isinstance(model.input, Sequences):
        return TIMED
    examples = len(model.input.lengths)
    if batch_size > examples:
        raise ValueError(
            "{} has {} examples and a batch of {} needs more. Give a smaller batch".format(
                model.name, examples, batch_size
            )
        )
    return examples // batch_size


def find_sample_unit(model: Model) -> int:
    """Return the unit of calls in a sample: 1 if all batches have one shape, else 0.

    0: a whole pass, as in velodrome.adapters.worker.call_timing.Calls.
    """
    return 0 if isinstance(model.input, Sequences) else 1


def choose_checked_batches(model: Model, batch_size: int) -> Tuple[int, ...]:
    """Return the numbers of the batches whose gradients the reference holds."""
    count = count_batches(model, batch_size)
    return tuple(sorted({0, count // 2, count - 1}))


def compute_step(batch_size: int) -> int:
    """Return the number of new examples in each batch, if all have one shape.

    Batches overlap, so that the reference of a further one costs only its new examples; but no row
    holds the same example in two of them.
    """
    return max(1, min(8, batch_size // 8))


def count_examples(model: Model, batch_size: int) -> int:
    """Count the examples in all batches, fresh ones included."""
    if isinstance(model.input, Sequences):
        fresh_batches = len(choose_checked_batches(model, batch_size))
        return (count_batches(model, batch_size) + fresh_batches) * batch_size
    if isinstance(model.loss, NoLoss):
        return batch_size
    return batch_size + compute_step(batch_size) * (TIMED + FRESH - 1)


def list_first_attempts(model: Model, batch_size: int) -> numpy.ndarray:
    """Return (examples,) int64: the first attempt to draw each example, in its own stream."""
    attempts = numpy.zeros(count_examples(model, batch_size), numpy.int64)
    if isinstance(model.input, Sequences):
        attempts[count_batches(model, batch_size) * batch_size :] = FIRST_FRESH
    return attempts


def find_example(model: Model, batch_size: int, place: int) -> int:
    """Return the example at a place of `draws`; a fresh sequence is as long as its original."""
    count = count_batches(model, batch_size) * batch_size
    if not isinstance(model.input, Sequences) or place < count:
        return place
    number, row = divmod(place - count, batch_size)
    return choose_checked_batches(model, batch_size)[number] * batch_size + row


def draw_batches(
    model: Model, batch_size: int, seed: int, draws: Optional[numpy.ndarray] = None
) -> Tuple[Batch, ...]:
    """Draw all batches of one pass, on the host. No two of them hold the same values.

    draws: (examples,) int, the attempt of each example's stream; None: list_first_attempts.
    `velodrome.adapters.proof.reference` finds those without near-ties.
    """
    if isinstance(model.input, Code):
        return _draw_by_code(model, batch_size, seed, range(TIMED))
    drawn = _BatchSource(model, batch_size, seed, draws)
    return tuple(drawn.batch(number) for number in range(count_batches(model, batch_size)))


def draw_fresh_batches(
    model: Model, batch_size: int, seed: int, draws: Optional[numpy.ndarray] = None
) -> Tuple[Batch, ...]:
    """Draw batches of the same shapes and order as draw_batches, with other values.

    For sequences, only the checked batches have other values.
    """
    if isinstance(model.input, Code):
        return _draw_by_code(model, batch_size, seed, range(TIMED, TIMED + FRESH))
    drawn = _BatchSource(model, batch_size, seed, draws)
    count = count_batches(model, batch_size)
    if not isinstance(model.input, Sequences):
        return tuple(drawn.batch(number) for number in range(count, count + FRESH))
    others = {own: count + i for i, own in enumerate(choose_checked_batches(model, batch_size))}
    return tuple(drawn.batch(others.get(number, number)) for number in range(count))


def _draw_by_code(
    model: Model, batch_size: int, seed: int, numbers: Sequence[int]
) -> Tuple[Batch, ...]:
    """Draw batches by the user's code, each from a stream of its own."""
    from velodrome.adapters.own_code import inputs  # Python 3.8: no other framework needs it

    streams = [make_stream(seed, "batch", number) for number in numbers]
    return inputs.draw_batches(model, batch_size, streams)


class _BatchSource(object):
    """Batches by their number, the fresh ones behind the others.

    Batches overlap: each example is drawn once.
    """

    def __init__(
        self, model: Model, batch_size: int, seed: int, draws: Optional[numpy.ndarray]
    ) -> None:
        count = count_examples(model, batch_size)
        draws = list_first_attempts(model, batch_size) if draws is None else numpy.asarray(draws)
        if draws.shape != (count,):
            raise ValueError("draws of shape {} for {} examples".format(draws.shape, count))
        self._model, self._batch_size, self._seed, self._draws = model, batch_size, seed, draws
        self._labels = _draw_labels(model, count, seed)
        self._examples: Dict[int, numpy.ndarray] = {}

    def batch(self, number: int) -> Batch:
        if isinstance(self._model.loss, NoLoss):
            return self._rotate(number)
        stride = self._batch_size
        if not isinstance(self._model.input, Sequences):
            stride = compute_step(self._batch_size)
        places = range(number * stride, number * stride + self._batch_size)
        labels = None if self._labels is None else self._labels[places.start : places.stop]
        examples = [self._example(place) for place in places]
        if isinstance(self._model.input, Sequences):
            return _pad(examples, labels)
        return Batch(numpy.stack(examples), labels)

    def _example(self, place: int) -> numpy.ndarray:
        if place not in self._examples:
            index = find_example(self._model, self._batch_size, place)
            attempt = int(self._draws[place])
            self._examples[place] = draw_example(self._model, self._seed, index, attempt)
        return self._examples[place]

    def _rotate(self, number: int) -> Batch:
        """Return a batch to be copied: the same values, rotated by one for each batch."""
        rows = numpy.stack([self._example(place) for place in range(self._batch_size)])
        return Batch(numpy.roll(rows, number, axis=1))


def _pad(examples: List[numpy.ndarray], labels: Optional[numpy.ndarray]) -> Batch:
    lengths = numpy.array([len(example) for example in examples], numpy.int32)
    tokens = numpy.zeros((len(examples), int(lengths.max())), numpy.int32)
    for row, example in enumerate(examples):
        tokens[row, : len(example)] = example
    return Batch(tokens, labels, lengths)


def draw_example(model: Model, seed: int, index: int, attempt: int) -> numpy.ndarray:
    """Draw one example: an image, a vector or states float32, or tokens int32."""
    draw = make_stream(seed, "example", index, attempt)
    source = model.input
    if isinstance(source, Sequences):
        length = source.lengths[index]
        return draw.randint(1, source.vocabulary, size=length, dtype=numpy.int32)
    if isinstance(source, Tokens):
        return draw.randint(0, source.vocabulary, size=source.length, dtype=numpy.int32)
    if isinstance(source, Vectors) and source.distribution == "uniform":
        return _draw_array(draw.random_sample, (source.size,), 1.0)
    if isinstance(source, Vectors) and source.distribution == "integers":
        drawn = _draw_array(draw.random_sample, (source.size,), INTEGERS)
        numpy.floor(drawn, out=drawn)
        return drawn
    return _draw_array(draw.standard_normal, shapes.compute_input_shape(model), 1.0)


def _draw_labels(model: Model, count: int, seed: int) -> Optional[numpy.ndarray]:
    if model.classes == 0:
        return None
    size: Tuple[int, ...] = (count,)
    if isinstance(model.loss, StepCrossEntropy):
        size += shapes.compute_output_shapes(model)[model.layers[-1].name][:1]
    return make_stream(seed, "labels").randint(0, model.classes, size=size, dtype=numpy.int32)


def _draw_array(
    draw: Callable[[int], numpy.ndarray], shape: Tuple[int, ...], scale: float
) -> numpy.ndarray:
    """Draw a float32 array in chunks, so that float64 values need little memory."""
    values = numpy.empty(shapes.count_values(shape), numpy.float32)
    for start in range(0, values.size, _CHUNK):
        values[start : start + _CHUNK] = scale * draw(min(_CHUNK, values.size - start))
    return values.reshape(shape)


def make_stream(seed: int, *what: object) -> numpy.random.RandomState:
    """Return an independent stream for each seed and purpose."""
    name = "/".join(str(part) for part in (seed,) + what)
    words = numpy.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4")
    return numpy.random.RandomState(words.astype(numpy.uint32))
