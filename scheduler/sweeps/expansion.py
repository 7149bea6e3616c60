"""Expansion of a sweep into cells: every combination once, in a fixed order, less exclusions."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.code_kinds import runs_in
from velodrome.agents.task import count_devices
from velodrome.scheduler.sweeps.ceilings import list_ceiling_courses, list_ceiling_entrants
from velodrome.scheduler.sweeps.conditions import holds, list_fields
from velodrome.scheduler.sweeps.groups import list_batch_sizes
from velodrome.scheduler.sweeps.sweep import BatchSize, Device, Entrant, Exclusion, Sweep, Threads


@dataclass(frozen=True, slots=True)
class CellSpec:
    """A cell as the sweep specifies it, before it is placed.

    Threads and batch size may still depend on the node.
    """

    framework: str
    variant: str
    model: str
    batch_size: BatchSize
    device: str
    gpu_count: int
    gpu_model: str
    threads: Threads
    dtype: str
    seed: int
    processes: int = 1
    nodes: int = 1

    @property
    def devices(self) -> int:
        """Return how many share each batch, on all nodes together."""
        return count_devices(self.device, self.gpu_count, self.processes, self.nodes)

    @property
    def node_devices(self) -> int:
        return count_devices(self.device, self.gpu_count, self.processes)


def expand_cells(sweep: Sweep) -> tuple[CellSpec, ...]:
    """List the cells that no exclusion matches.

    The framework varies fastest, so that what is compared runs at about the same time.
    """
    return tuple(cell for cell in iterate_cells(sweep) if not is_excluded(cell, sweep.exclusions))


def iterate_cells(sweep: Sweep) -> Iterator[CellSpec]:
    """Yield every cell, excluded ones included."""
    courses = itertools.product(sweep.devices, sweep.dtypes, sweep.threads, sweep.models)
    given = dict(sweep.batch_sizes)
    for device, dtype, threads, model in courses:
        for batch_size in _list_batch_sizes(sweep, given, device, model):
            yield from _list_cells(sweep, sweep.entrants, device, dtype, threads, model, batch_size)
    entrants = list_ceiling_entrants(sweep)
    for device, dtype, threads, model in list_ceiling_courses(sweep):
        batch_size = MODELS[model].default_batch_size(device.kind)
        yield from _list_cells(sweep, entrants, device, dtype, threads, model, batch_size)


def count_cells(sweep: Sweep) -> int:
    """Count the cells of `iterate_cells` without making them."""
    given = dict(sweep.batch_sizes)
    cells = sum(
        sum(len(_list_batch_sizes(sweep, given, device, model)) for device in sweep.devices)
        * _count_variants(sweep.entrants, model)
        for model in sweep.models
    )
    settings = len(sweep.dtypes) * len(sweep.threads)
    entrants = list_ceiling_entrants(sweep)
    ceilings = sum(
        _count_variants(entrants, model) for _, _, _, model in list_ceiling_courses(sweep)
    )
    return cells * settings + ceilings


def is_excluded(subject: object, exclusions: tuple[Exclusion, ...]) -> bool:
    """Return True if all conditions of any exclusion hold for a cell or task."""
    if not exclusions:
        return False
    fields = list_fields(subject)
    return any(
        all(holds(condition, fields) for condition in exclusion.conditions)
        for exclusion in exclusions
    )


def _list_batch_sizes(
    sweep: Sweep, given: Mapping[str, tuple[BatchSize, ...]], device: Device, model: str
) -> tuple[BatchSize, ...]:
    """List a model's batch sizes on a device. given: those of the sweep file, by model."""
    sizes = given.get(model) or (MODELS[model].default_batch_size(device.kind),)
    if MODELS[model].has_row_per_device and model not in given:
        return (MODELS[model].default_batch_size(device.kind, device.count),)
    return list_batch_sizes(sizes, device, sweep.scaling)


def _count_variants(entrants: tuple[Entrant, ...], model: str) -> int:
    return sum(len(entrant.variants) for entrant in _select_entrants(entrants, model))


def _select_entrants(entrants: tuple[Entrant, ...], model: str) -> tuple[Entrant, ...]:
    """Select the frameworks that can run a model: code runs in its own alone."""
    return tuple(entrant for entrant in entrants if runs_in(MODELS[model], entrant.framework))


def _list_cells(
    sweep: Sweep,
    entrants: tuple[Entrant, ...],
    device: Device,
    dtype: str,
    threads: Threads,
    model: str,
    batch_size: BatchSize,
) -> Iterator[CellSpec]:
    for entrant in _select_entrants(entrants, model):
        for variant in entrant.variants:
            yield CellSpec(
                framework=entrant.framework,
                variant=variant,
                model=model,
                batch_size=batch_size,
                device=device.kind,
                gpu_count=device.gpu_count,
                gpu_model=device.gpu_model,
                threads=threads,
                dtype=dtype,
                seed=sweep.seed,
                processes=device.processes,
                nodes=device.nodes,
            )
