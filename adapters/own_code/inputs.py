"""Batches that a user's code draws, as records: one per example, a field for each array."""

from typing import Any, Dict, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.models.layers import Model
from velodrome.adapters.own_code.loading import LoadedCode, load_code

KINDS = "biuf"  # truth values, whole numbers, real numbers


def draw_batches(
    model: Model, batch_size: int, draws: Sequence[numpy.random.RandomState]
) -> Tuple[Batch, ...]:
    """Draw a batch from each stream of random numbers. CodeFailed if two hold the same values.

    inputs: records (batch,), whose fields are the arrays that the user's function names; real
    numbers as float32, for the adapter to widen.
    """
    code = load_code(model)
    found = tuple(Batch(_draw_records(code, batch_size, draw)) for draw in draws)
    for left, right in zip(found, found[1:]):  # noqa: RUF007 - Python 3.6
        if left.inputs.dtype == right.inputs.dtype and (left.inputs == right.inputs).all():
            mend = "Draw them from the second argument, as draw.standard_normal((size, 4))"
            raise code.reject(code.batch, "batch() gave the same values twice", mend)
    return found


def split_arrays(batch: Batch) -> Dict[str, numpy.ndarray]:
    """Return the arrays of a batch by name, each on its own in memory."""
    names = batch.inputs.dtype.names or ()
    return {name: numpy.ascontiguousarray(batch.inputs[name]) for name in names}


def count_examples(arrays: Dict[str, Any]) -> int:
    """Count the examples of a batch of arrays by name, also of a framework's own kind."""
    return len(next(iter(arrays.values())))


def _draw_records(
    code: LoadedCode, batch_size: int, draw: numpy.random.RandomState
) -> numpy.ndarray:
    given = code.call(code.batch, batch_size, draw)
    if not isinstance(given, dict) or not given:
        problem = "batch() returned {}".format(_describe(given))
        raise code.reject(code.batch, problem, "Return a dict of arrays by name")
    arrays = {name: _read_array(code, name, value) for name, value in given.items()}
    for name, array in arrays.items():
        if array.shape[:1] != (batch_size,):
            problem = "batch({}) gave {!r} the shape {}".format(batch_size, name, array.shape)
            raise code.reject(code.batch, problem, "Make its first axis that of the examples")
    fields = [(name, array.dtype, array.shape[1:]) for name, array in arrays.items()]
    records = numpy.zeros(batch_size, numpy.dtype(fields))
    for name, array in arrays.items():
        records[name] = array
    return records


def _read_array(code: LoadedCode, name: Any, value: Any) -> numpy.ndarray:
    if not isinstance(name, str) or not name:
        raise code.reject(code.batch, "batch() names an array {!r}".format(name), "Give a text")
    array = numpy.asarray(value)
    if array.dtype.kind not in KINDS:
        problem = "batch() gave {!r} the type {}".format(name, array.dtype)
        raise code.reject(code.batch, problem, "Give arrays of numbers or truth values")
    return array.astype(numpy.float32) if array.dtype.kind == "f" else array


def _describe(value: Any) -> str:
    return "an empty dict" if isinstance(value, dict) else "a {}".format(type(value).__name__)
