"""Columns of `tasks` on reading batches from a data set."""

from collections.abc import Mapping

from velodrome.adapters.models import products, shapes
from velodrome.adapters.models.layers import Model


def count_loaded_bytes(model: Model, batch_size: int) -> int | None:
    """Count the bytes of a batch's inputs, decoded; None for a model that has no data set."""
    if not shapes.has_records(model):
        return None
    return batch_size * products.count_example_bytes(model)


def compute_hidden_share(medians_ns: Mapping[str, float | None]) -> float | None:
    """Return the share of a batch's load that its gradient hides; None without the three times.

    1 - (fed_gradient - gradient) / load. Above 1 by noise alone; below 0 also if loading slows the
    computation down by more than it takes itself.
    """
    load, alone, fed = (medians_ns.get(name) for name in ("load", "gradient", "fed_gradient"))
    if not load or alone is None or fed is None:
        return None
    return 1 - (fed - alone) / load
