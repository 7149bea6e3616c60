"""Loss and gradients of each batch by the reference's network, within bounded memory."""

from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy

from velodrome.adapters.contract import Batch, map_arrays
from velodrome.adapters.frameworks.numpy.network import Network
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes, shared_batches
from velodrome.adapters.proof import prediction, seeding
from velodrome.adapters.proof.sketch import compute_sketch

# Called with a batch's number, its loss and its gradients.
Observer = Callable[[int, float, Dict[str, numpy.ndarray]], None]

_CHUNK_BYTES = 2**30  # of float64 activations in one chunk of a batch


class BatchResult(NamedTuple):
    """Loss, norms and sketches of one batch."""

    loss: float
    norms: Dict[str, float]
    sketches: Dict[str, numpy.ndarray]


def compute_batches(
    network: Network,
    batches: Tuple[Batch, ...],
    observed: Tuple[int, ...] = (),
    observe: Optional[Observer] = None,
) -> List[BatchResult]:
    """Compute each batch; overlapping batches share their examples' part if layers allow it.

    observed: numbers of batches with whose number, loss and gradients `observe` is called.
    """
    shares = not shared_batches.needs_whole_batch(network.model) and not isinstance(
        network.model.input, kinds.Sequences
    )
    if shares and not observed[1:]:
        return _compute_overlapping(network, batches, observe if observed else None)
    found = []
    for number, batch in enumerate(batches):
        loss, gradients = accumulate_gradients(network, batch)
        found.append(_summarize(loss, gradients))
        if observe is not None and number in observed:
            observe(number, loss, gradients)
        del gradients  # before the next one: of a large model, gigabytes
    return found


def _compute_overlapping(
    network: Network, batches: Tuple[Batch, ...], observe: Optional[Observer]
) -> List[BatchResult]:
    """Compute each example once, in stretches of examples that belong to the same batches.

    Norms are those of the whole gradient for the first batch, of its sketch for the others. Only
    the first batch is observed.
    """
    size, count = len(batches[0].inputs), len(batches)
    step = seeding.compute_step(size)
    starts = [number * step for number in range(count)]
    cuts = sorted(set(starts + [start + size for start in starts]))
    parts: List[Tuple[int, int, BatchResult]] = []
    whole: Dict[str, numpy.ndarray] = {}
    for start, end in zip(cuts, cuts[1:]):  # noqa: RUF007 - Python 3.6
        home = min(start // step, count - 1)
        own = _slice(batches[home], start - starts[home], end - starts[home])
        loss, gradients = accumulate_gradients(network, own)
        parts.append((start, end, _summarize(loss, gradients)))
        if end <= size:
            _add(whole, gradients, (end - start) / float(size))
        del gradients
    found = [
        _average(
            [(end - begin, part) for begin, end, part in parts if start <= begin < start + size]
        )
        for start in starts
    ]
    norms = {name: _norm(value) for name, value in whole.items()}
    if observe is not None:
        observe(0, found[0].loss, whole)
    return [found[0]._replace(norms=norms)] + found[1:]


def _average(parts: List[Tuple[int, BatchResult]]) -> BatchResult:
    """Return the mean of the parts, weighted by their numbers of examples."""
    total = float(sum(count for count, _ in parts))
    loss = sum(count / total * part.loss for count, part in parts)
    sketches = {
        name: sum((count / total * part.sketches[name] for count, part in parts), numpy.zeros(()))
        for name in parts[0][1].sketches
    }
    return BatchResult(loss, {name: _norm(own) for name, own in sketches.items()}, sketches)


def _norm(values: numpy.ndarray) -> float:
    return float(numpy.linalg.norm(values))


def accumulate_gradients(
    network: Network, batch: Batch, dtype: str = ""
) -> Tuple[float, Dict[str, numpy.ndarray]]:
    """Return (loss, gradients) of one batch, computed in chunks of examples.

    The loss is a mean over the batch, so that chunks add up by their share of it. dtype: of the
    network's products, if it rounds them.
    """
    loss = 0.0
    total: Dict[str, numpy.ndarray] = {}
    for part in split_batch(network, batch):
        share = len(part.inputs) / float(len(batch.inputs))
        result = network.gradient(prediction.round_inputs(part, dtype) if dtype else part)
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
            total[name] = gradient if share == 1.0 else share * gradient


def _summarize(loss: float, gradients: Dict[str, numpy.ndarray]) -> BatchResult:
    norms = {name: _norm(value) for name, value in gradients.items()}
    return BatchResult(
        loss, norms, {name: compute_sketch(name, value) for name, value in gradients.items()}
    )


def split_batch(network: Network, batch: Batch) -> Iterator[Batch]:
    """Yield the batch in parts that fit in memory, or those of the devices if they matter."""
    model = network.model
    values = sum(
        shapes.count_values(shape) for shape in shapes.compute_output_shapes(model).values()
    )
    # Three times: a layer's output, what its backward pass keeps of it, and its gradient.
    size = max(1, _CHUNK_BYTES // (3 * 8 * values))
    if shared_batches.needs_whole_batch(model):
        size = len(batch.inputs) // network.devices
    for start in range(0, len(batch.inputs), size):
        own = _slice(batch, start, start + size)
        wide = own.inputs if own.inputs.dtype.kind == "i" else own.inputs.astype(numpy.float64)
        yield own._replace(inputs=wide)


def _slice(batch: Batch, start: int, end: int) -> Batch:
    return map_arrays(lambda array: array[start:end], batch)
