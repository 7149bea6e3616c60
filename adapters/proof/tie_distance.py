"""The distance of an example from a near-tie, where float32 rounding alone changes a gradient.

A gradient jumps where the two largest values of a max-pooling window are equal to within rounding
(it is routed to one of them), or where the input of a ReLU is within rounding of 0 (it passes, or
not). One jump in one example moves a gradient of AlexNet at batch 16 by 1e-4 to 1e-2 of its norm,
and frameworks may differ by 1e-3. So examples that are too near one are drawn again.

The limit: adding up n products in float32, one after the other, is off by about
0.3 sqrt(n) 2^-24 of the sum's root mean square (each addition by 0.29 units of the last place of
what is summed so far), and a network's layers add their errors up in squares. A sum that ends far
from 0 went through larger values: a value y of a layer with root mean square s is off by
sqrt(1 + 2/3 (y/s)^2) times as much. PyTorch's CPU kernels follow this to 0.5-1.0 times, layer by
layer, with next to normal tails; frameworks that add in blocks stay below it.

Two cases are harmless, and left out. A window whose largest value is exactly 0 lies behind a ReLU
that lets no gradient through, wherever it is routed. And where a ReLU is read only by max-pooling
(past LRN, which lets next to no gradient through to values near 0 from their neighbours), only the
largest value of each window gets a gradient, so only those are compared with 0.
"""

import math
from typing import Dict, Tuple

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.images import pad_for_pool, view_windows
from velodrome.adapters.frameworks.numpy.network import Network
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes, shared_batches
from velodrome.adapters.models.layers import Layer, MaxPool, Model

# In standard deviations of the rounding above: at 3, a quarter of AlexNet's examples pass.
MARGIN = 3.0
PER_ROOT_PRODUCT = 0.3 * 2.0**-24


def list_before_jumps(model: Model) -> Tuple[str, ...]:
    """List the layers before the last one where a gradient can jump: theirs may jump."""
    jumping, names = _list_jumping_layers(model), [layer.name for layer in model.layers]
    return tuple(names[: names.index(jumping[-1])]) if jumping else ()


def can_jump(model: Model) -> bool:
    """Return True if a gradient of a single example, computed alone, can jump."""
    return bool(_list_jumping_layers(model)) and not shared_batches.needs_whole_batch(model)


def depends_on_batch(model: Model) -> bool:
    """Return True if a gradient can jump where that depends on all examples of a batch."""
    return bool(_list_jumping_layers(model)) and shared_batches.needs_whole_batch(model)


def measure_tie_distance(network: Network, batch: Batch) -> float:
    """Return the distance of one example from the nearest jump, in standard deviations of rounding.

    Layers behind the first that is nearer than MARGIN are skipped.
    """
    jumping, pools = _list_jumping_layers(network.model), _find_pools_behind(network.model)
    rounding = estimate_rounding(network.model)
    least = math.inf
    for layer, inputs, _ in network.steps(batch):
        if layer.name in jumping:
            distance = _measure_distance(layer, inputs[0], pools[layer.name]) / rounding[layer.name]
            least = min(least, distance)
        if least < MARGIN:
            break
    return least


def estimate_rounding(model: Model) -> Dict[str, float]:
    """Estimate per layer the error of its float32 values, over their root mean square."""
    reads = shapes.list_inputs(model)
    products = {"input": 0}
    summed: Dict[str, int] = {}
    for entry in shapes.list_parameters(model):
        summed[entry.layer] = summed.get(entry.layer, 0) + _count_products(entry)
    for layer in model.layers:
        before = max(products[name] for name in reads[layer.name])
        products[layer.name] = before + summed.get(layer.name, 0)
    return {name: PER_ROOT_PRODUCT * math.sqrt(max(1, n)) for name, n in products.items()}


def _count_products(entry: shapes.Parameter) -> int:
    """Count the products in one sum with a parameter; 0 for a bias."""
    return 0 if entry.role.startswith("bias") else entry.fan_in


def _list_jumping_layers(model: Model) -> Tuple[str, ...]:
    """List the ReLUs and max-poolings through which a gradient flows back."""
    needed, reads = shapes.find_gradient_flow(model), shapes.list_inputs(model)
    return tuple(
        layer.name
        for layer in model.layers
        if isinstance(layer, (kinds.Relu, MaxPool)) and needed[reads[layer.name][0]]
    )


def _measure_distance(layer: Layer, x: numpy.ndarray, pools: Tuple[MaxPool, ...]) -> float:
    """Return the least distance in x, over the root mean square of x."""
    square = float(numpy.mean(x * x)) or 1.0
    if isinstance(layer, MaxPool):
        return _measure_pool_distance(_collect_windows(layer, x), square)
    if not pools:
        return float(numpy.abs(x).min()) / math.sqrt(square)
    largest = (_collect_windows(pool, x).max(axis=2) for pool in pools)
    return min(float(numpy.abs(values).min()) for values in largest) / math.sqrt(square)


def _measure_pool_distance(windows: numpy.ndarray, square: float) -> float:
    if windows.shape[2] < 2:
        return math.inf
    ordered = numpy.partition(windows, windows.shape[2] - 2, axis=2)
    largest, second = ordered[:, :, -1], ordered[:, :, -2]
    gap = numpy.where(largest == 0.0, math.inf, largest - second)
    # Both values are off, each by its own rounding.
    return float((gap / numpy.sqrt(2.0 * (square + 2.0 / 3.0 * largest * largest))).min())


def _collect_windows(pool: MaxPool, x: numpy.ndarray) -> numpy.ndarray:
    """Return (batch, channels, size^2, out height, out width): the values in each window."""
    windows = view_windows(pad_for_pool(pool, x), pool.size, pool.stride)
    return windows.reshape(windows.shape[:2] + (-1,) + windows.shape[4:])


def _find_pools_behind(model: Model) -> Dict[str, Tuple[MaxPool, ...]]:
    """Find per ReLU the max-poolings that read it, past LRN; none if another layer reads it too."""
    reads = shapes.list_inputs(model)

    def readers(name: str) -> Tuple[Layer, ...]:
        found: Tuple[Layer, ...] = ()
        for layer in model.layers:
            if name in reads[layer.name]:
                found += readers(layer.name) if isinstance(layer, kinds.Lrn) else (layer,)
        return found

    pools: Dict[str, Tuple[MaxPool, ...]] = {}
    for layer in model.layers:
        behind = readers(layer.name) if isinstance(layer, kinds.Relu) else ()
        own = tuple(reader for reader in behind if isinstance(reader, MaxPool))
        pools[layer.name] = own if len(own) == len(behind) else ()
    return pools
