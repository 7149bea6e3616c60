"""Gradients while dropout is active: their statistics, compared with those of the reference.

Frameworks draw different masks, so with dropout active no value can be compared with a reference.
Statistics over many masks can: the reference draws MASKS of its own and stores, per parameter
behind the first dropout layer, the gradient's length, its share of exact zeros, and the distance
between the gradients of two masks. A gradient that is all zero, drops nothing, does not scale the
kept values, or has one mask for the whole batch is out of bounds.

Bounds are Student's for the mean of some values beside MASKS known ones (a prediction interval:
Hahn, Journal of the American Statistical Association 64 (1969) 878-888), so far out that chance
alone meets them in about one of 10^6 checks; SLACK is for spreads that are small by luck.
"""

import math
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Batch, map_arrays
from velodrome.adapters.frameworks.numpy.network import Network
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Model
from velodrome.adapters.proof.sketch import compute_sketch

MASKS = 12
SIGMAS = 9.0  # standard deviations: of Student's distribution with 11 degrees, 2e-6 lie beyond
SLACK = 0.05  # of a logarithm, and of a share
MIN_DISTANCE = 1.0 / 3  # of the mean distance of two masks' gradients


class DropoutProfile(NamedTuple):
    """Statistics of one batch's gradients. Entry i of each array belongs to mask number i.

    apart: per parameter, the mean distance of two masks' gradients, over their mean length.
    """

    losses: numpy.ndarray
    norms: Dict[str, numpy.ndarray]
    zeros: Dict[str, numpy.ndarray]
    apart: Dict[str, float]


class GradientSummary(NamedTuple):
    """The loss of one call or mask, and each gradient's length, share of zeros and sketch."""

    loss: float
    norms: Dict[str, float]
    zeros: Dict[str, float]
    sketches: Dict[str, numpy.ndarray]


def has_dropout(model: Model) -> bool:
    return any(isinstance(layer, kinds.Dropout) for layer in model.layers)


def list_parameters_behind(model: Model) -> Tuple[str, ...]:
    """List the trained parameters of the layers behind the first dropout."""
    if not has_dropout(model):
        return ()
    names = {layer.name for layer in model.layers[_first_dropout(model) :]}
    return tuple(entry.name for entry in shapes.list_trained(model) if entry.layer in names)


def compute_profile(network: Network, chunks: Sequence[Batch], seed: int) -> DropoutProfile:
    """Compute the profile of a batch given in chunks. Layers before dropout run once."""
    model = network.model
    start, names = _first_dropout(model), list_parameters_behind(model)
    values, batch = _compute_values_before(network, chunks), _join(chunks)
    masks = []
    for number in range(MASKS):
        draw = numpy.random.RandomState(seed + number)
        result = network.gradient_behind(start, values, batch, draw)
        own = {name: result.gradients[name] for name in names}
        masks.append(summarize_gradients(result.loss, own))
    return DropoutProfile(
        numpy.array([mask.loss for mask in masks]),
        {name: numpy.array([mask.norms[name] for mask in masks]) for name in names},
        {name: numpy.array([mask.zeros[name] for mask in masks]) for name in names},
        {name: _mean_distance(name, masks) for name in names},
    )


def summarize_gradients(loss: float, gradients: Dict[str, numpy.ndarray]) -> GradientSummary:
    return GradientSummary(
        loss,
        {name: float(numpy.linalg.norm(value)) for name, value in gradients.items()},
        {name: float((value == 0).mean()) for name, value in gradients.items()},
        {name: compute_sketch(name, value) for name, value in gradients.items()},
    )


def find_faults(reference: DropoutProfile, calls: Sequence[GradientSummary]) -> List[str]:
    """Describe how two or more calls differ from the known masks; empty if they do not.

    The means over the calls are compared: more calls show smaller differences.
    """
    losses = [math.log(abs(call.loss) or 1e-300) for call in calls]
    found = _compare_mean("the loss", losses, numpy.log(reference.losses))
    for name in reference.norms:
        found += _find_parameter_faults(reference, name, calls)
    return found + _find_repeated_mask(reference, calls)


def _find_repeated_mask(reference: DropoutProfile, calls: Sequence[GradientSummary]) -> List[str]:
    """Return a fault if two calls had one mask: then no gradient moved far between them.

    A gradient of few values may come near another by chance: that of a bias of 5 classes comes
    within a third of the mean distance in one of 50 pairs. So all gradients together decide.
    """
    distances = {
        name: _distance(calls[0], calls[1], name) / apart
        for name, apart in reference.apart.items()
        if apart > 0
    }
    same = [
        "two gradients of {} are the same".format(n) for n, far in distances.items() if not far > 0
    ]
    if same or not distances or max(distances.values()) >= MIN_DISTANCE:
        return same
    farthest = max(distances, key=lambda name: distances[name])
    text = "two gradients, most that of {}, are {:.2g} of their length apart, {:.2g} expected"
    apart = reference.apart[farthest]
    return [text.format(farthest, distances[farthest] * apart, apart)]


def _find_parameter_faults(
    reference: DropoutProfile, name: str, calls: Sequence[GradientSummary]
) -> List[str]:
    if not all(call.norms[name] > 0 for call in calls):
        return ["the gradient of {} is zero".format(name)]
    if not (reference.norms[name] > 0).all():
        return []
    length = _compare_mean(
        "the length of the gradient of {}".format(name),
        [math.log(call.norms[name]) for call in calls],
        numpy.log(reference.norms[name]),
    )
    what = "the share of zeros in the gradient of {}".format(name)
    zeros = [call.zeros[name] for call in calls]
    return length or _compare_mean(what, zeros, reference.zeros[name], convert=lambda share: share)


def _compare_mean(
    what: str,
    values: Sequence[float],
    reference: numpy.ndarray,
    convert: Callable[[float], float] = math.exp,
) -> List[str]:
    """Return a fault if the mean of values is out of bounds. convert: to a value for display."""
    middle, mean = float(reference.mean()), math.fsum(values) / len(values)
    error = float(reference.std(ddof=1)) * math.sqrt(1.0 / len(values) + 1.0 / len(reference))
    if abs(mean - middle) <= SIGMAS * error + SLACK:
        return []
    return ["{} is {:.4g}, {:.4g} expected".format(what, convert(mean), convert(middle))]


def _mean_distance(name: str, found: Sequence[GradientSummary]) -> float:
    pairs = [_distance(left, right, name) for left, right in zip(found[::2], found[1::2])]
    return sum(pairs) / len(pairs)


def _distance(left: GradientSummary, right: GradientSummary, name: str) -> float:
    length = (left.norms[name] + right.norms[name]) / 2
    apart = float(numpy.linalg.norm(left.sketches[name] - right.sketches[name]))
    return apart / length if length else 0.0


def _first_dropout(model: Model) -> int:
    return [isinstance(layer, kinds.Dropout) for layer in model.layers].index(True)


def _compute_values_before(network: Network, chunks: Sequence[Batch]) -> Dict[str, numpy.ndarray]:
    """Compute the outputs before the first dropout that later layers read, for the whole batch."""
    model = network.model
    start, reads = _first_dropout(model), shapes.list_inputs(model)
    later = {name for layer in model.layers[start:] for name in reads[layer.name]}
    later.add(getattr(model.loss, "target", ""))
    before = {"input"}.union(layer.name for layer in model.layers[:start])
    found: Dict[str, List[numpy.ndarray]] = {name: [] for name in sorted(later & before)}
    for chunk in chunks:
        outputs = network.outputs(chunk)
        outputs["input"] = chunk.inputs
        for name in found:
            found[name].append(outputs[name])
    return {name: numpy.concatenate(parts) for name, parts in found.items()}


def _join(chunks: Sequence[Batch]) -> Batch:
    columns = [numpy.concatenate(parts) for parts in zip(*chunks) if parts[0] is not None]
    filled = iter(columns)
    return map_arrays(lambda _: next(filled), chunks[0])
