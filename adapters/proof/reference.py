"""The reference: a model's loss and gradients, computed once in float64.

It holds each gradient's length and sketch (velodrome.adapters.proof.sketch), so that a model of 61
million parameters needs a few hundred kilobytes. Dropout is off. It also holds the attempts of the
examples (velodrome.adapters.proof.tie_distance), the same for every framework.
velodrome.adapters.proof.reference_file stores it.
"""

import hashlib
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy

from velodrome.adapters.contract import Batch, map_arrays
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Model
from velodrome.adapters.proof import dropout_gradients, seeding, tie_distance
from velodrome.adapters.proof.sketch import compute_sketch

VERSION = 2  # of the file, and of how weights and batches are drawn
MAX_ATTEMPTS = seeding.FIRST_FRESH
_CHUNK_BYTES = 2**30  # of float64 activations in one chunk of a batch


class ExpectedResults(NamedTuple):
    """Expected losses of some batches; norms (batches,) and sketches per trained parameter."""

    losses: Tuple[float, ...] = ()
    norms: Dict[str, numpy.ndarray] = {}
    sketches: Dict[str, numpy.ndarray] = {}  # (batches, at most sketch.BUCKETS)


class ChangedLoss(NamedTuple):
    """The loss of the first fresh batch after parameter `name` is given its changed values."""

    name: str = ""
    loss: float = float("nan")


class Reference(NamedTuple):
    """The reference of one model; without a loss it holds neither losses nor gradients.

    losses: of every batch of one pass. norms, sketches: of the checked ones, an entry each.
    """

    model: str
    batch_size: int
    seed: int
    digest: str  # of the model's definition and VERSION
    near_ties: int  # examples without a clear attempt
    draws: numpy.ndarray  # (examples,) int64, for seeding.draw_batches and draw_fresh_batches
    checked: Tuple[int, ...]  # numbers of the batches of which each gradient is known
    losses: Tuple[float, ...]
    norms: Dict[str, numpy.ndarray]  # per trained parameter (checked,)
    sketches: Dict[str, numpy.ndarray]  # per trained parameter (checked, at most sketch.BUCKETS)
    shapes: Dict[str, Tuple[int, ...]]  # per trained parameter
    total: Dict[str, numpy.ndarray]  # sketches of all batches' gradients, added up by `signs`
    fresh: ExpectedResults  # of the fresh batches at the places of `checked`
    changed: ChangedLoss
    dropout: Optional[dropout_gradients.DropoutProfile]  # of the last batch, None without dropout


def compute_reference(model: Model, batch_size: int, seed: int) -> Reference:
    """Compute a reference; takes seconds for AlexNet. ValueError if no batch can be filled."""
    network = Network(model, seeding.draw_weights(model, seed), OPERATIONS)
    draws, near_ties = find_clear_draws(network, batch_size, seed)
    bare = Reference(
        model=model.name,
        batch_size=batch_size,
        seed=seed,
        digest=compute_digest(model),
        near_ties=near_ties,
        draws=draws,
        checked=seeding.choose_checked_batches(model, batch_size),
        losses=(),
        norms={},
        sketches={},
        shapes={},
        total={},
        fresh=ExpectedResults(),
        changed=ChangedLoss(),
        dropout=None,
    )
    if isinstance(model.loss, kinds.NoLoss):
        return bare
    return _fill(bare, network)


def _fill(bare: Reference, network: Network) -> Reference:
    model, checked = network.model, bare.checked
    batches = seeding.draw_batches(model, bare.batch_size, bare.seed, bare.draws)
    fresh = seeding.draw_fresh_batches(model, bare.batch_size, bare.seed, bare.draws)
    others = tuple(fresh[number] for number in checked)
    found = _compute_batches(network, batches + others)
    own, new = found[: len(batches)], found[len(batches) :]
    expected = _collect([own[number] for number in checked])
    return bare._replace(
        losses=tuple(result.loss for result in own),
        norms=expected.norms,
        sketches=expected.sketches,
        shapes={entry.name: entry.shape for entry in shapes.list_trained(model)},
        total=_sum_sketches(own, bare.seed) if len(own) > len(checked) else {},
        fresh=_collect(new),
        dropout=_compute_dropout(network, batches[-1], bare.seed),
        changed=_compute_changed_loss(network, others[0], bare.seed),
    )


def draw_signs(batches: int, seed: int) -> numpy.ndarray:
    """Draw (batches,) of +1 and -1, by which gradients are summed, so that no two errors cancel."""
    return 2.0 * seeding.make_stream(seed, "batches").randint(0, 2, size=batches) - 1.0


def choose_changed_parameter(model: Model, seed: int) -> Optional[Tuple[str, numpy.ndarray]]:
    """Choose a trained parameter near the loss and new float32 values for it; None without one.

    A vector if there is one: its layout in memory is the same in every framework.
    """
    trained = shapes.list_trained(model)
    if not trained:
        return None
    entry = ([entry for entry in trained if len(entry.shape) == 1] or list(trained))[-1]
    return entry.name, seeding.draw_values(entry, seed, "changed")


class _BatchResult(NamedTuple):
    """Loss, norms and sketches of one batch."""

    loss: float
    norms: Dict[str, float]
    sketches: Dict[str, numpy.ndarray]


def _compute_batches(network: Network, batches: Tuple[Batch, ...]) -> List[_BatchResult]:
    """Compute each batch; overlapping batches share their examples' part if layers allow it."""
    if _needs_whole_batch(network.model) or isinstance(network.model.input, kinds.Sequences):
        return [_summarize(*_accumulate(network, batch)) for batch in batches]
    return _compute_overlapping(network, batches)


def _compute_overlapping(network: Network, batches: Tuple[Batch, ...]) -> List[_BatchResult]:
    """Compute each example once, in stretches of examples that belong to the same batches.

    Norms are those of the whole gradient for the first batch, of its sketch for the others.
    """
    size, count = len(batches[0].inputs), len(batches)
    step = seeding.compute_step(size)
    starts = [number * step for number in range(count)]
    cuts = sorted(set(starts + [start + size for start in starts]))
    parts: List[Tuple[int, int, _BatchResult]] = []
    whole: Dict[str, numpy.ndarray] = {}
    for start, end in zip(cuts, cuts[1:]):  # noqa: RUF007 - Python 3.6
        home = min(start // step, count - 1)
        own = _slice(batches[home], start - starts[home], end - starts[home])
        loss, gradients = _accumulate(network, own)
        parts.append((start, end, _summarize(loss, gradients)))
        if end <= size:
            _add(whole, gradients, (end - start) / float(size))
    found = [
        _average(
            [(end - begin, part) for begin, end, part in parts if start <= begin < start + size]
        )
        for start in starts
    ]
    norms = {name: _norm(value) for name, value in whole.items()}
    return [found[0]._replace(norms=norms)] + found[1:]


def _average(parts: List[Tuple[int, _BatchResult]]) -> _BatchResult:
    """Return the mean of the parts, weighted by their numbers of examples."""
    total = float(sum(count for count, _ in parts))
    loss = sum(count / total * part.loss for count, part in parts)
    sketches = {
        name: sum((count / total * part.sketches[name] for count, part in parts), numpy.zeros(()))
        for name in parts[0][1].sketches
    }
    return _BatchResult(loss, {name: _norm(own) for name, own in sketches.items()}, sketches)


def _norm(values: numpy.ndarray) -> float:
    return float(numpy.linalg.norm(values))


def _collect(found: List[_BatchResult]) -> ExpectedResults:
    return ExpectedResults(
        tuple(each.loss for each in found),
        {name: numpy.array([each.norms[name] for each in found]) for name in found[0].norms},
        {name: numpy.stack([each.sketches[name] for each in found]) for name in found[0].sketches},
    )


def _sum_sketches(found: List[_BatchResult], seed: int) -> Dict[str, numpy.ndarray]:
    added = draw_signs(len(found), seed)
    return {
        name: sum(sign * result.sketches[name] for sign, result in zip(added, found))
        for name in found[0].sketches
    }


def _compute_dropout(
    network: Network, batch: Batch, seed: int
) -> Optional[dropout_gradients.DropoutProfile]:
    if not dropout_gradients.list_parameters_behind(network.model):
        return None
    return dropout_gradients.compute_profile(network, tuple(_chunks(network.model, batch)), seed)


def _compute_changed_loss(network: Network, batch: Batch, seed: int) -> ChangedLoss:
    """Compute the changed loss. The network keeps the changed values and is not used again."""
    found = choose_changed_parameter(network.model, seed)
    if found is None:
        return ChangedLoss()
    network.put(*found)
    total = float(len(batch.inputs))
    parts = _chunks(network.model, batch)
    loss = sum(len(part.inputs) / total * network.forward(part).loss for part in parts)
    return ChangedLoss(found[0], loss)


def compute_digest(model: Model) -> str:
    """Return a hash that is equal only for models that are defined and drawn alike."""
    return hashlib.sha256("{} {!r}".format(VERSION, model).encode()).hexdigest()


def is_reference_of(reference: Reference, model: Model, batch_size: int, seed: int) -> bool:
    """Return True if a stored reference is still valid for this model."""
    own = (reference.digest, reference.batch_size, reference.seed)
    return own == (compute_digest(model), batch_size, seed)


def find_clear_draws(network: Network, batch_size: int, seed: int) -> Tuple[numpy.ndarray, int]:
    """Find each example's first attempt without near-ties, and count the examples that have none.

    If none of MAX_ATTEMPTS is clear, the nearest to it is taken.
    """
    model = network.model
    draws = seeding.list_first_attempts(model, batch_size)
    if not tie_distance.can_jump(model):
        return draws, 0
    clear = [
        _find_clear_draw(network, seed, seeding.find_example(model, batch_size, place), int(first))
        for place, first in enumerate(draws)
    ]
    draws[:] = [attempt for attempt, _ in clear]
    return draws, sum(distance < tie_distance.MARGIN for _, distance in clear)


def _find_clear_draw(network: Network, seed: int, index: int, first: int) -> Tuple[int, float]:
    best = (first, -1.0)
    for attempt in range(first, first + MAX_ATTEMPTS):
        distance = tie_distance.measure_tie_distance(
            network, _draw_single(network.model, seed, index, attempt)
        )
        if distance > best[1]:
            best = (attempt, distance)
        if distance >= tie_distance.MARGIN:
            break
    return best


def _draw_single(model: Model, seed: int, index: int, attempt: int) -> Batch:
    drawn = seeding.draw_example(model, seed, index, attempt)[None]
    if isinstance(model.input, kinds.Sequences):
        return Batch(drawn, lengths=numpy.array([drawn.shape[1]], numpy.int32))
    return Batch(drawn.astype(numpy.float64))


def _accumulate(network: Network, batch: Batch) -> Tuple[float, Dict[str, numpy.ndarray]]:
    """Return (loss, gradients) of one batch, computed in chunks of examples.

    The loss is a mean over the batch, so that chunks add up by their share of it.
    """
    loss = 0.0
    total: Dict[str, numpy.ndarray] = {}
    for part in _chunks(network.model, batch):
        share = len(part.inputs) / float(len(batch.inputs))
        result = network.gradient(part)
        loss += share * result.loss
        _add(total, result.gradients, share)
    return loss, {entry.name: total[entry.name] for entry in shapes.list_trained(network.model)}


def _add(
    total: Dict[str, numpy.ndarray], gradients: Dict[str, numpy.ndarray], share: float
) -> None:
    for name, gradient in gradients.items():
        if name in total:
            total[name] += share * gradient
        else:
            total[name] = share * gradient


def _summarize(loss: float, gradients: Dict[str, numpy.ndarray]) -> _BatchResult:
    norms = {name: _norm(value) for name, value in gradients.items()}
    return _BatchResult(
        loss, norms, {name: compute_sketch(name, value) for name, value in gradients.items()}
    )


def _needs_whole_batch(model: Model) -> bool:
    """Return True if a layer needs the whole batch, which then cannot be cut."""
    return any(isinstance(layer, kinds.BatchNorm) for layer in model.layers)


def _chunks(model: Model, batch: Batch) -> Iterator[Batch]:
    values = sum(
        shapes.count_values(shape) for shape in shapes.compute_output_shapes(model).values()
    )
    # Three times: a layer's output, what its backward pass keeps of it, and its gradient.
    size = max(1, _CHUNK_BYTES // (3 * 8 * values))
    if _needs_whole_batch(model):
        size = len(batch.inputs)
    for start in range(0, len(batch.inputs), size):
        own = _slice(batch, start, start + size)
        wide = own.inputs if own.inputs.dtype.kind == "i" else own.inputs.astype(numpy.float64)
        yield own._replace(inputs=wide)


def _slice(batch: Batch, start: int, end: int) -> Batch:
    return map_arrays(lambda array: array[start:end], batch)
