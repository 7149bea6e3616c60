"""What `ceilings: true` adds to a sweep: a product and a copy through each of its frameworks."""

import itertools
from collections.abc import Iterator

from velodrome.adapters.protocol import Timing
from velodrome.scheduler.sweeps.sweep import Device, Entrant, Sweep, Threads

FEW_THREADS = 4  # that a product of 1024 x 1024 keeps busy, at tens of ms a call
TYPES = ("float64", "float16", "bfloat16")  # variants that compute in another type, by their name
# A ceiling is what was reached, which nobody compares to the percent.
TIMING = Timing(target=0.02, min_samples=5, min_seconds=0.5, max_seconds=5.0)


def ceiling_courses(sweep: Sweep) -> Iterator[tuple[Device, str, Threads, str]]:
    """Devices, types, threads and models, as far as the sweep does not run the model anyway."""
    if not sweep.ceilings:
        return
    for device, dtype, threads in itertools.product(sweep.devices, sweep.dtypes, sweep.threads):
        for model in (_product(device, threads), "copy"):
            if model not in sweep.models:
                yield device, dtype, threads, model


def ceiling_entrants(sweep: Sweep) -> tuple[Entrant, ...]:
    """Each framework in the first of its variants here, and in those that have another type."""
    return tuple(
        Entrant(one.framework, _variants(one), one.devices, one.locked) for one in sweep.entrants
    )


def timing_of(model: str, sweep: Sweep) -> Timing:
    """The sweep's own, but for a model that is there for the ceiling alone."""
    own = sweep.timing
    if model in sweep.models:
        return own
    return Timing(
        target=max(own.target, TIMING.target),
        min_samples=min(own.min_samples, TIMING.min_samples),
        min_seconds=min(own.min_seconds, TIMING.min_seconds),
        max_seconds=min(own.max_seconds, TIMING.max_seconds),
    )


def _product(device: Device, threads: Threads) -> str:
    """Large enough to be all product, small enough to be run several times a second."""
    if device.kind == "gpu":
        return "gemm"
    return "gemm-1024" if isinstance(threads, int) and threads <= FEW_THREADS else "gemm-2048"


def _variants(entrant: Entrant) -> tuple[str, ...]:
    first, *others = entrant.variants
    return (first, *(name for name in others if name in TYPES))
