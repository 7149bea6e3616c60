"""Weights and batches that are the same bytes in every framework, from a seed.

Every array has a stream of its own, a `numpy.random.RandomState` seeded by a hash of the seed and
of what the array is: a layer more moves no other layer's weights, a larger batch begins with the
smaller one. RandomState is used because NumPy has frozen its streams (NEP 19), so the interpreters
of old and new frameworks draw alike. Values are drawn in float64 and rounded once.
"""

import hashlib
from typing import Callable, Dict, Optional, Tuple

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Model, Sequences, Vectors

BIAS_SCALE = 0.1
_CHUNK = 2**20  # values drawn at a time: an even number, so that chunks do not change the stream


def weights(model: Model, seed: int) -> Dict[str, numpy.ndarray]:
    """Float32 arrays in canonical layout, keyed `layer.role`.

    Normal with standard deviation 1 / sqrt(fan_in), biases with BIAS_SCALE.
    """
    return {entry.name: _weight(entry, seed) for entry in shapes.parameters(model)}


def batch_count(model: Model, batch_size: int) -> int:
    """Batches in one pass: one, or for sequences as many as the examples fill.

    ValueError if they do not fill a single one.
    """
    if batch_size < 1:
        raise ValueError("a batch of {} examples. Give 1 or more".format(batch_size))
    if not isinstance(model.input, Sequences):
        return 1
    examples = len(model.input.lengths)
    if batch_size > examples:
        raise ValueError(
            "{} has {} examples and a batch of {} needs more. Give a smaller batch".format(
                model.name, examples, batch_size
            )
        )
    return examples // batch_size


def example_count(model: Model, batch_size: int) -> int:
    """Examples in all batches together."""
    return batch_count(model, batch_size) * batch_size


def batches(
    model: Model, batch_size: int, seed: int, draws: Optional[numpy.ndarray] = None
) -> Tuple[Batch, ...]:
    """All batches of one pass, on the host.

    draws (examples,) int says which attempt of each example's stream is taken, 0 where not given;
    `velodrome.adapters.reference` finds those without near-ties.
    """
    count = example_count(model, batch_size)
    draws = numpy.zeros(count, numpy.int64) if draws is None else numpy.asarray(draws)
    if draws.shape != (count,):
        raise ValueError("draws of shape {} for {} examples".format(draws.shape, count))
    labels = _labels(model, count, seed)
    return tuple(
        _batch(model, range(start, start + batch_size), seed, draws, labels)
        for start in range(0, count, batch_size)
    )


def example(model: Model, seed: int, index: int, attempt: int) -> numpy.ndarray:
    """One example: an image or a vector float32, or its tokens int32, as long as it truly is."""
    draw = stream(seed, "example", index, attempt)
    source = model.input
    if isinstance(source, Sequences):
        length = source.lengths[index]
        return draw.randint(1, source.vocabulary, size=length, dtype=numpy.int32)
    if isinstance(source, Vectors) and source.distribution == "uniform":
        return _filled(draw.random_sample, (source.size,), 1.0)
    return _filled(draw.standard_normal, shapes.input_shape(model), 1.0)


def _batch(
    model: Model, indices: range, seed: int, draws: numpy.ndarray, labels: Optional[numpy.ndarray]
) -> Batch:
    own_labels = None if labels is None else labels[indices.start : indices.stop]
    if not isinstance(model.input, Sequences):
        inputs = numpy.empty((len(indices),) + shapes.input_shape(model), numpy.float32)
        for row, index in enumerate(indices):
            inputs[row] = example(model, seed, index, int(draws[index]))
        return Batch(inputs, own_labels)
    lengths = numpy.array(model.input.lengths[indices.start : indices.stop], numpy.int32)
    tokens = numpy.zeros((len(indices), int(lengths.max())), numpy.int32)
    for row, index in enumerate(indices):
        tokens[row, : lengths[row]] = example(model, seed, index, int(draws[index]))
    return Batch(tokens, own_labels, lengths)


def _labels(model: Model, count: int, seed: int) -> Optional[numpy.ndarray]:
    if model.classes == 0:
        return None
    return stream(seed, "labels").randint(0, model.classes, size=count, dtype=numpy.int32)


def _weight(entry: shapes.Parameter, seed: int) -> numpy.ndarray:
    scale = BIAS_SCALE if entry.role.startswith("bias") else entry.fan_in**-0.5
    return _filled(stream(seed, "weight", entry.name).standard_normal, entry.shape, scale)


def _filled(
    draw: Callable[[int], numpy.ndarray], shape: Tuple[int, ...], scale: float
) -> numpy.ndarray:
    """Float32, drawn a chunk at a time: a model's largest array is drawn in float64 otherwise."""
    values = numpy.empty(shapes.product(shape), numpy.float32)
    for start in range(0, values.size, _CHUNK):
        values[start : start + _CHUNK] = scale * draw(min(_CHUNK, values.size - start))
    return values.reshape(shape)


def stream(seed: int, *what: object) -> numpy.random.RandomState:
    """A stream of its own for each seed and each thing named by `what`."""
    name = "/".join(str(part) for part in (seed,) + what)
    words = numpy.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4")
    return numpy.random.RandomState(words.astype(numpy.uint32))
