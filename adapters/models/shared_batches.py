"""Facts about a model's batches that several devices share."""

from typing import Optional, Sequence

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.code_kinds import is_code
from velodrome.adapters.models.layers import Model
from velodrome.adapters.protocol import LOADING_PHASES


def needs_whole_batch(model: Model) -> bool:
    """Return True if a layer needs the whole batch, which then cannot be cut."""
    return any(isinstance(layer, kinds.BatchNorm) for layer in model.layers)


def count_separate_devices(model: Model, devices: int) -> int:
    """Return how many devices that share a batch decide the results by their number.

    1, unless a batch normalization takes the statistics of its own device's examples.
    """
    return devices if needs_whole_batch(model) else 1


def find_single_device_work(model: Optional[Model], phases: Sequence[str]) -> str:
    """Describe what a task does that only one device can; empty: several can do all of it."""
    if is_code(model):
        return "a workload in code runs on one device"
    loading = [phase for phase in phases if phase in LOADING_PHASES]
    if loading:
        return "several devices do not share a data set: no phase {}".format(loading[0])
    return ""
