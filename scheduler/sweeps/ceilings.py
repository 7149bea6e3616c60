"""Tasks that `ceilings: true` adds to a sweep: a matrix product and a copy in each framework."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

from velodrome.adapters.protocol import Timing
from velodrome.scheduler.sweeps.sweep import Device, Entrant, Sweep, Threads

FEW_THREADS = 4  # a product of 1024 x 1024 keeps so many busy, at tens of ms a call
TYPES = ("float64", "float16", "bfloat16")  # variants that compute in another type, by their name
# A ceiling is the rate that was reached; one percent does not matter.
TIMING = Timing(target=0.02, min_samples=5, min_seconds=0.5, max_seconds=5.0)


def list_ceiling_courses(sweep: Sweep) -> Iterator[tuple[Device, str, Threads, str]]:
    """List devices, dtypes, threads and models to add; models that the sweep has are left out.

    Several devices have no ceiling: a product or a copy shares nothing between them.
    """
    if not sweep.ceilings:
        return
    single = [device for device in sweep.devices if device.count == 1]
    for device, dtype, threads in itertools.product(single, sweep.dtypes, sweep.threads):
        for model in (_choose_product(device, threads), "copy"):
            if model not in sweep.models:
                yield device, dtype, threads, model


def list_ceiling_entrants(sweep: Sweep) -> tuple[Entrant, ...]:
    """List each framework with its first variant and those of another dtype."""
    return tuple(replace(each, variants=_choose_variants(each)) for each in sweep.entrants)


def choose_timing(model: str, sweep: Sweep) -> Timing:
    """Return the sweep's timing, relaxed for a model that only serves as a ceiling."""
    own = sweep.timing
    if model in sweep.models:
        return own
    return Timing(
        target=max(own.target, TIMING.target),
        min_samples=min(own.min_samples, TIMING.min_samples),
        min_seconds=min(own.min_seconds, TIMING.min_seconds),
        max_seconds=min(own.max_seconds, TIMING.max_seconds),
    )


def _choose_product(device: Device, threads: Threads) -> str:
    """Choose a product that is large enough to dominate and small enough to run often."""
    if device.kind == "gpu":
        return "gemm"
    return "gemm-1024" if isinstance(threads, int) and threads <= FEW_THREADS else "gemm-2048"


def _choose_variants(entrant: Entrant) -> tuple[str, ...]:
    first, *others = entrant.variants
    return (first, *(name for name in others if name in TYPES))
