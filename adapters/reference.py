"""What a model's loss and gradients must be: computed once in float64, kept as one small file.

The file holds each gradient's length and a sketch of it (velodrome.adapters.sketch), so that a
model of 61 million parameters needs a few hundred kilobytes. Dropout is off. It also holds which
draws of the examples were taken (velodrome.adapters.clearance): every framework gets those.
"""

import hashlib
import os
import zipfile
from typing import Dict, Iterator, NamedTuple, Tuple

import numpy

from velodrome.adapters import clearance, seeding
from velodrome.adapters.contract import Batch
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Model
from velodrome.adapters.numpy.network import OPERATIONS, Network
from velodrome.adapters.sketch import sketch

VERSION = 1  # of the file, and of how weights and batches are drawn
MAX_ATTEMPTS = 64
_CHUNK_BYTES = 2**30  # of activations in float64: what one chunk of a batch may hold


class Unreadable(Exception):
    """A file that holds no reference; the text names it and the mend."""


class Reference(NamedTuple):
    """One entry per checked batch in losses, norms and sketches; without a loss they are empty."""

    model: str
    batch_size: int
    seed: int
    digest: str  # of the model's definition and VERSION: says whether it still is that model
    near_ties: int  # examples of which no attempt was clear
    draws: numpy.ndarray  # (examples,) int64, for seeding.batches
    checked: Tuple[int, ...]  # numbers of the batches that are verified
    losses: Tuple[float, ...]
    norms: Dict[str, numpy.ndarray]  # per trained parameter (checked,)
    sketches: Dict[str, numpy.ndarray]  # per trained parameter (checked, at most sketch.BUCKETS)
    shapes: Dict[str, Tuple[int, ...]]  # per trained parameter


def compute(model: Model, batch_size: int, seed: int) -> Reference:
    """Seconds for AlexNet at batch 16. ValueError if the model cannot fill such a batch."""
    count = seeding.batch_count(model, batch_size)
    checked = tuple(sorted({0, count // 2, count - 1}))
    network = Network(model, seeding.weights(model, seed), OPERATIONS)
    draws, near_ties = clear_draws(network, batch_size, seed)
    bare = Reference(
        model.name, batch_size, seed, digest(model), near_ties, draws, checked, (), {}, {}, {}
    )
    if isinstance(model.loss, kinds.NoLoss):
        return bare
    batches = seeding.batches(model, batch_size, seed, draws)
    found = [_accumulated(network, batches[index]) for index in checked]
    names = {entry.name: entry.shape for entry in shapes.trained(model)}
    return bare._replace(
        losses=tuple(loss for loss, _, _ in found),
        norms={name: numpy.array([norms[name] for _, norms, _ in found]) for name in names},
        sketches={name: numpy.stack([own[name] for _, _, own in found]) for name in names},
        shapes=names,
    )


def digest(model: Model) -> str:
    """The same for two models only if they are defined alike and drawn alike."""
    return hashlib.sha256("{} {!r}".format(VERSION, model).encode()).hexdigest()


def is_of(reference: Reference, model: Model, batch_size: int, seed: int) -> bool:
    """Whether a reference that was kept is still the one for this model."""
    own = (reference.digest, reference.batch_size, reference.seed)
    return own == (digest(model), batch_size, seed)


def clear_draws(network: Network, batch_size: int, seed: int) -> Tuple[numpy.ndarray, int]:
    """Per example the first attempt that is clear of jumps, and how many examples have none.

    Of MAX_ATTEMPTS that are not clear, the one that came nearest to it is taken.
    """
    model = network.model
    draws = numpy.zeros(seeding.example_count(model, batch_size), numpy.int64)
    if not clearance.can_jump(model):
        return draws, 0
    clear = [_clear_draw(network, seed, index) for index in range(len(draws))]
    draws[:] = [attempt for attempt, _ in clear]
    return draws, sum(distance < clearance.MARGIN for _, distance in clear)


def _clear_draw(network: Network, seed: int, index: int) -> Tuple[int, float]:
    best = (0, -1.0)
    for attempt in range(MAX_ATTEMPTS):
        distance = clearance.clearance(network, _single(network.model, seed, index, attempt))
        if distance > best[1]:
            best = (attempt, distance)
        if distance >= clearance.MARGIN:
            break
    return best


def _single(model: Model, seed: int, index: int, attempt: int) -> Batch:
    drawn = seeding.example(model, seed, index, attempt)[None]
    if isinstance(model.input, kinds.Sequences):
        return Batch(drawn, lengths=numpy.array([drawn.shape[1]], numpy.int32))
    return Batch(drawn.astype(numpy.float64))


def _accumulated(
    network: Network, batch: Batch
) -> Tuple[float, Dict[str, float], Dict[str, numpy.ndarray]]:
    """(loss, norms, sketches) of one batch, a chunk of examples at a time.

    The loss is a mean over the batch, so that chunks add up by their share of it. Not so behind a
    layer that looks at the batch as a whole: then it is one chunk.
    """
    loss = 0.0
    total: Dict[str, numpy.ndarray] = {}
    for part in _chunks(network.model, batch):
        share = len(part.inputs) / float(len(batch.inputs))
        result = network.gradient(part)
        loss += share * result.loss
        for name, gradient in result.gradients.items():
            gradient *= share
            if name in total:
                total[name] += gradient
            else:
                total[name] = gradient
    norms = {name: float(numpy.linalg.norm(value)) for name, value in total.items()}
    return loss, norms, {name: sketch(name, value) for name, value in total.items()}


def _chunks(model: Model, batch: Batch) -> Iterator[Batch]:
    values = sum(shapes.product(shape) for shape in shapes.output_shapes(model).values())
    # Three times: a layer's output, what its backward pass keeps of it, and its gradient.
    size = max(1, _CHUNK_BYTES // (3 * 8 * values))
    if any(isinstance(layer, kinds.BatchNorm) for layer in model.layers):
        size = len(batch.inputs)
    for start in range(0, len(batch.inputs), size):
        own = [None if array is None else array[start : start + size] for array in batch]
        inputs = own[0] if own[0].dtype.kind == "i" else own[0].astype(numpy.float64)
        yield Batch(inputs, own[1], own[2])


def save(path: str, reference: Reference) -> None:
    """Written whole under another name, then renamed: a reader never sees half a file."""
    arrays = {name: numpy.array(getattr(reference, name)) for name in Reference._fields[:8]}
    for name in reference.norms:
        arrays["norm:" + name] = reference.norms[name]
        arrays["sketch:" + name] = reference.sketches[name]
        arrays["shape:" + name] = numpy.array(reference.shapes[name], numpy.int64)
    # Named by the process: two that compute the same reference at once do not share a file.
    temporary = "{}.{}.part".format(path, os.getpid())
    try:
        with open(temporary, "wb") as file:
            numpy.savez(file, **arrays)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def load(path: str) -> Reference:
    """OSError if there is no such file, Unreadable if it is none of ours or cut off."""
    try:
        with numpy.load(path, allow_pickle=False) as file:
            return _from_arrays({name: file[name] for name in file.files})
    except (ValueError, KeyError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise Unreadable(
            "{} is no reference ({}). Remove it: it is computed again".format(path, error)
        ) from error


def _from_arrays(arrays: Dict[str, numpy.ndarray]) -> Reference:
    norms = _with_prefix(arrays, "norm:")
    return Reference(
        str(arrays["model"]),
        int(arrays["batch_size"]),
        int(arrays["seed"]),
        str(arrays["digest"]),
        int(arrays["near_ties"]),
        arrays["draws"],
        tuple(int(index) for index in arrays["checked"]),
        tuple(float(loss) for loss in arrays["losses"]),
        norms,
        _with_prefix(arrays, "sketch:"),
        {name: tuple(int(n) for n in arrays["shape:" + name]) for name in norms},
    )


def _with_prefix(arrays: Dict[str, numpy.ndarray], prefix: str) -> Dict[str, numpy.ndarray]:
    return {name[len(prefix) :]: arrays[name] for name in arrays if name.startswith(prefix)}
