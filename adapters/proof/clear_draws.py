"""The search for examples without near-ties, before a reference is computed."""

from typing import Tuple

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.network import Network
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import Model
from velodrome.adapters.proof import seeding, tie_distance

MAX_ATTEMPTS = seeding.FIRST_FRESH


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
