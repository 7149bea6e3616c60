"""How far an example is from a gradient that rounding alone would change.

A gradient jumps where a max-pooling window holds two largest values that are equal to within
rounding (it is routed to one of them), or where the input of a ReLU is within rounding of 0 (it
passes, or not). One such jump in one example moves a gradient of AlexNet at batch 16 by about 1e-3
of its norm, all that is allowed between frameworks. So examples that are too near one are drawn again.

Two cases are harmless, and left out. A window whose largest value is exactly 0 lies behind a ReLU
that lets no gradient through, wherever it is routed. And where a ReLU is read only by max-pooling
(past LRN, which mixes channels but moves next to no gradient to values near 0), gradients reach
only the largest value of each window, so only those are held against 0.
"""

from typing import Dict, Tuple

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import MaxPool, Model
from velodrome.adapters.numpy.images import windows
from velodrome.adapters.numpy.network import Network

# Of the layer's root mean square: how near is too near. float32 frameworks differ from float64 by
# 1e-7 to 1e-6 of it (see tests/adapters/test_reference.py), and AlexNet still passes every third.
MARGIN = 4e-6


def can_jump(model: Model) -> bool:
    """Whether there is any layer in it whose gradient can jump."""
    needed, reads = shapes.needs_gradient(model), shapes.sources(model)
    return any(
        isinstance(layer, (kinds.Relu, MaxPool)) and needed[reads[layer.name][0]]
        for layer in model.layers
    )


def clearance(network: Network, batch: Batch) -> float:
    """The least distance from a jump in a batch of one example, relative to its layer's root mean

    square. What is found first below MARGIN is returned: the layers behind it are not computed.
    """
    model = network.model
    needed, pools = shapes.needs_gradient(model), _pools_behind(model)
    least = float("inf")
    for layer, inputs, _ in network.steps(batch):
        if needed[shapes.sources(model)[layer.name][0]]:
            least = min(least, _distance(layer, inputs[0], pools))
        if least < MARGIN:
            break
    return least


def _distance(layer: kinds.Layer, x: numpy.ndarray, pools: Dict[str, Tuple[MaxPool, ...]]) -> float:
    if isinstance(layer, MaxPool):
        gap = _tie_gap(layer, x)
    elif isinstance(layer, kinds.Relu):
        gap = _kink_gap(x, pools[layer.name])
    else:
        return float("inf")
    return gap / (float(numpy.sqrt(numpy.mean(x * x))) or 1.0)


def _kink_gap(x: numpy.ndarray, pools: Tuple[MaxPool, ...]) -> float:
    if not pools:
        return float(numpy.abs(x).min())
    return min(float(numpy.abs(_seen(pool, x).max(axis=2)).min()) for pool in pools)


def _tie_gap(layer: MaxPool, x: numpy.ndarray) -> float:
    seen = _seen(layer, x)
    if seen.shape[2] < 2:
        return float("inf")
    ordered = numpy.partition(seen, seen.shape[2] - 2, axis=2)
    largest, second = ordered[:, :, -1], ordered[:, :, -2]
    return float(numpy.where(largest == 0.0, numpy.inf, largest - second).min())


def _seen(pool: MaxPool, x: numpy.ndarray) -> numpy.ndarray:
    """(batch, channels, size^2, out height, out width): what each window holds."""
    seen = windows(x, pool.size, pool.stride)
    return seen.reshape(seen.shape[:2] + (-1,) + seen.shape[4:])


def _pools_behind(model: Model) -> Dict[str, Tuple[MaxPool, ...]]:
    """Per ReLU the max-poolings that read it, past LRN; empty if anything else reads it too."""
    reads = shapes.sources(model)
    readers = {
        name: [layer for layer in model.layers if name in reads[layer.name]] for name in reads
    }

    def behind(name: str) -> Tuple[kinds.Layer, ...]:
        found = ()  # type: Tuple[kinds.Layer, ...]
        for layer in readers[name]:
            found += behind(layer.name) if isinstance(layer, kinds.Lrn) else (layer,)
        return found

    pools = {}
    for layer in model.layers:
        ends = behind(layer.name) if isinstance(layer, kinds.Relu) else ()
        pools[layer.name] = ends if all(isinstance(end, MaxPool) for end in ends) else ()
    return pools
