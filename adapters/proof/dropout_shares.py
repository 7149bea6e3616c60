"""Comparison of the values that dropout keeps with the model's rate."""

import math
from typing import Optional, Tuple

from velodrome.adapters.contract import Adapter
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Dropout, Model
from velodrome.adapters.proof.disagreement import Disagreed

_SIGMAS = 5.0


def check_dropout(model: Model, adapter: Adapter, batch_size: int = 1) -> Tuple[str, ...]:
    """Turn dropout on, compare it with the model and leave it on. Return notes of the results.

    Each layer's kept share must be within 5 standard deviations of 1 - rate, and two calls of
    forward must differ in their loss, so that the timed call does drop. The number of inputs that
    are not zero is unknown: a quarter of the examples is taken, few enough behind a ReLU.
    """
    layers = [layer for layer in model.layers if isinstance(layer, Dropout)]
    if not layers:
        return ()
    adapter.set_dropout(True)
    shares = adapter.kept_shares()
    sizes = shapes.compute_output_shapes(model)
    notes = tuple(
        _share_note(
            layer, shares.get(layer.name), shapes.count_values(sizes[layer.name]) * batch_size / 4
        )
        for layer in layers
    )
    first, second = (adapter.loss(adapter.forward(0)) for _ in range(2))
    if first == second:
        raise Disagreed(
            "forward drops nothing: two calls with dropout active gave the same loss {!r}".format(
                first
            )
        )
    return notes


def _share_note(layer: Dropout, share: Optional[float], count: float) -> str:
    if share is None:
        raise Disagreed("the adapter gives no kept share of dropout {}".format(layer.name))
    expected = 1.0 - layer.rate
    allowed = _SIGMAS * math.sqrt(layer.rate * expected / count)
    text = "dropout {} kept {:.4f} of its inputs, {:.2f} +- {:.4f} expected".format(
        layer.name, share, expected, allowed
    )
    if not abs(share - expected) <= allowed:
        raise Disagreed(text)
    return text
