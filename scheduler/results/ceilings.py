"""Measured peak rates (ceilings) of nodes, and the efficiency of task rows against them. Pure.

A ceiling is the best median rate that any framework and variant reached on a node, device and
thread count, in one precision: FLOP/s on the gemm models, bytes/s on `copy`. On a GPU the
number of CPU threads does not count. A row is compared with a ceiling of its own sweep; if there is
none, with the best of other sweeps at most RECENT_DAYS apart. The same node comes before another
node of its type.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.ceilings import COPY, GEMMS
from velodrome.adapters.models.products import count_copied_bytes
from velodrome.agents.node_types import normalize_gpu_names
from velodrome.agents.task import name_computed_type
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow

RECENT_DAYS = 30
FLOPS_MODELS = frozenset(model.name for model in GEMMS)
MODEL_NAMES = FLOPS_MODELS | {COPY.name}
FULL_TYPES = ("float32", "float64")
CEILING_COLUMNS = (  # the columns that a ceiling is made of
    *CellKey._fields,
    "sweep_id",
    "status",
    "verified",
    "node_id",
    "hostname",
    "node_type",
    "gpu_name",
    "started_at",
    "forward_median_ns",
    "forward_flops",
    "gradient_median_ns",
    "gradient_flops",
)


class RateUnit(StrEnum):
    """The unit of a rate, per second."""

    FLOPS = "FLOP"
    BYTES = "B"


@dataclass(frozen=True, order=True)
class ComputePlace:
    """A device of a node and the type it computes in. threads 0: not counted (GPUs).

    processes: as in CellKey, so that several devices are never held against one.
    """

    device: str
    gpu_name: str
    gpu_count: int
    threads: int
    computes_in: str
    processes: int = 1
    nodes: int = 1


@dataclass(frozen=True)
class Ceiling:
    """A rate that was reached, with its source. started_at: UTC, None if unknown."""

    unit: RateUnit
    per_s: float
    place: ComputePlace
    node_id: str
    hostname: str
    node_type: str
    framework: str
    variant: str
    model: str
    sweep_id: str
    started_at: datetime | None = None

    @property
    def by(self) -> str:
        return f"{self.framework} {self.variant}, {self.model}"


class Ceilings:
    """The ceilings of one sweep, and of other sweeps as a fallback."""

    def __init__(self, own: Iterable[TaskRow], others: Iterable[TaskRow] = ()) -> None:
        self.own = tuple(find_reached_rates(own))
        self._others = tuple(find_reached_rates(others))

    def __bool__(self) -> bool:
        return bool(self.own or self._others)

    def of(self, row: TaskRow, unit: RateUnit) -> Ceiling | None:
        """Return the ceiling that a row of this sweep is compared with."""
        place, node_id = place_of(row), row.node_id
        node_type, at = row.node_type, row.started_at
        alike = [
            [one for one in known if (one.unit, one.place) == (unit, place)]
            for known in (self.own, (one for one in self._others if _is_recent(one, at)))
        ]
        for known in alike:
            for found in (
                [one for one in known if one.node_id == node_id],
                [one for one in known if one.node_type == node_type],
            ):
                if found:
                    return max(found, key=lambda one: one.per_s)
        return None


def build_ceiling_columns(row: TaskRow, ceiling: Ceiling | None) -> dict[str, object]:
    """Return the ceiling columns of `tasks` for a row."""
    rate = _compute_rate(row, "gradient")
    return {
        "ceiling_flops_per_s": ceiling.per_s if ceiling else None,
        "ceiling_source": describe_source(ceiling, row) if ceiling else None,
        "gradient_efficiency": rate / ceiling.per_s if ceiling and rate else None,
    }


def describe_source(ceiling: Ceiling, row: TaskRow) -> str:
    """Describe who reached a ceiling, with sweep and node if these are not the row's own."""
    elsewhere = ceiling.node_id != row.node_id
    parts = (
        ceiling.by,
        f"on {ceiling.hostname}, of the same type" if elsewhere else "",
        f"in sweep {ceiling.sweep_id}" if ceiling.sweep_id != row.sweep_id else "",
    )
    return ", ".join(filter(None, parts))


def build_node_ceilings(ceilings: Iterable[Ceiling], node_id: str) -> list[dict[str, object]]:
    """Return the column `ceilings` of `nodes`: per device, the best over all thread counts.

    Products of less precision than float32 are much faster and do not count.
    """
    full = (one for one in ceilings if one.place.computes_in in FULL_TYPES)
    found = _find_best(full, node_id, lambda place: (place.device,))
    return [{"device": device, **rates} for (device,), rates in found]


def build_dtype_ceilings(ceilings: Iterable[Ceiling], node_id: str) -> list[dict[str, object]]:
    """Return the column `ceilings_by_dtype` of `nodes`: per device and type of the products."""
    found = _find_best(ceilings, node_id, lambda place: (place.device, place.computes_in))
    return [{"device": device, "computes_in": kind, **rates} for (device, kind), rates in found]


def _find_best(
    ceilings: Iterable[Ceiling], node_id: str, group: Callable[[ComputePlace], tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], dict[str, float | None]]]:
    """Yield the best rates of each group of places of a node, sorted."""
    found: dict[tuple[str, ...], dict[RateUnit, float]] = {}
    for one in ceilings:
        if one.node_id == node_id:
            best = found.setdefault(group(one.place), {})
            best[one.unit] = max(best.get(one.unit, 0.0), one.per_s)
    for key, best in sorted(found.items()):
        yield (
            key,
            {
                "gemm_flops_per_s": best.get(RateUnit.FLOPS),
                "copy_bytes_per_s": best.get(RateUnit.BYTES),
            },
        )


def find_reached_rates(rows: Iterable[TaskRow]) -> Iterator[Ceiling]:
    """Yield a ceiling per contestant, model and node: the median over repeats, better phase."""
    groups: dict[tuple[object, ...], list[TaskRow]] = {}
    for row in rows:
        if row.model in MODEL_NAMES and _is_proven(row):
            groups.setdefault(_identify_contest(row), []).append(row)
    for group in groups.values():
        per_s = statistics.median(_compute_best_rate(row) for row in group)
        if per_s:
            yield _build_ceiling(group[0], per_s)


def place_of(row: TaskRow) -> ComputePlace:
    """Return the device and type that a row of `tasks` ran on."""
    device = row.device
    return ComputePlace(
        device=device,
        gpu_name=normalize_gpu_names(row.gpu_name),
        gpu_count=row.gpu_count or 0,
        threads=0 if device == "gpu" else row.threads,
        computes_in=computes_in(row),
        processes=row.process_count,
        nodes=row.node_count,
    )


def computes_in(row: TaskRow) -> str:
    """Return the type of the products: the variant's if it names one, else the row's."""
    return name_computed_type(row.variant, row.dtype)


def _identify_contest(row: TaskRow) -> tuple[object, ...]:
    where = (row.sweep_id, row.node_id, place_of(row))
    return (*where, row.framework, row.variant, row.model, row.batch_size)


def _build_ceiling(row: TaskRow, per_s: float) -> Ceiling:
    return Ceiling(
        unit=RateUnit.BYTES if row.model == COPY.name else RateUnit.FLOPS,
        per_s=per_s,
        place=place_of(row),
        node_id=row.node_id,
        hostname=row.hostname,
        node_type=row.node_type,
        framework=row.framework,
        variant=row.variant,
        model=row.model,
        sweep_id=row.sweep_id,
        started_at=row.started_at,
    )


def _compute_best_rate(row: TaskRow) -> float:
    """Return the rate of a gemm or copy row, per second."""
    if row.model == COPY.name:
        return _copy_rate(row)
    return max(_compute_rate(row, "forward"), _compute_rate(row, "gradient"))


def _copy_rate(row: TaskRow) -> float:
    took_ns = row.forward_median_ns or 0.0
    moved = count_copied_bytes(MODELS[COPY.name], row.batch_size)
    return moved / took_ns * 1e9 if took_ns > 0 else 0.0


def _compute_rate(row: TaskRow, phase: str) -> float:
    """Return FLOP/s; 0 if the phase was not timed."""
    took_ns = row.ns(phase) or 0.0
    return (row.number(f"{phase}_flops") or 0.0) / took_ns * 1e9 if took_ns > 0 else 0.0


def _is_proven(row: TaskRow) -> bool:
    return row.has_number and row.verified is True


def _is_recent(ceiling: Ceiling, at: datetime | None) -> bool:
    if at is None or ceiling.started_at is None:
        return False
    return abs(at - ceiling.started_at) <= timedelta(days=RECENT_DAYS)
