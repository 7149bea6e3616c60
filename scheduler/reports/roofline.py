"""Roofline points: the rate and arithmetic intensity of each timed phase, with node ceilings.

Williams, Waterman and Patterson, Roofline, CACM 52 (4), 2009: what a machine can do at an
arithmetic intensity (FLOP per byte) is the smaller of its FLOP/s and of its bytes/s times the
intensity. Both are measured here, by `gemm` and `copy`; FLOP and bytes of a model come from its
data (see velodrome.adapters.models.products and traffic), not from counters.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.traffic import (
    UPDATE_VALUES,
    estimate_forward_bytes,
    estimate_gradient_bytes,
    estimate_inference_bytes,
    estimate_update_bytes,
)
from velodrome.agents.phases import USUAL_OPTIMIZER
from velodrome.scheduler.reports.cell_keys import read_implementation, read_workload
from velodrome.scheduler.reports.links import (
    LinkedDevices,
    LinkRate,
    find_bus_ceiling,
    find_devices,
    find_link_rates,
)
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.ceilings import (
    Ceiling,
    Ceilings,
    ComputePlace,
    RateUnit,
    computes_in,
    place_of,
)
from velodrome.scheduler.results.typed_rows import TaskRow

BYTES = {  # of one call; an update alone has no FLOP
    "forward": estimate_forward_bytes,
    "gradient": estimate_gradient_bytes,
    "inference": estimate_inference_bytes,
    "step": estimate_gradient_bytes,  # and an update
}


@dataclass(frozen=True)
class RooflinePoint:
    """One phase of one cell: the median over its repeats. intensity in FLOP per byte."""

    framework: str
    variant: str
    model: str
    batch_size: int
    phase: str  # of BYTES
    intensity: float
    flops_per_s: float


@dataclass(frozen=True)
class Roofline:
    """The ceilings of one node and device, and the points below. None: not measured.

    Of a task on several devices they are those of the group: bus is the best bus bandwidth of any
    collective operation between them. partners: hostnames of the other nodes.
    """

    sweep_id: str
    node_id: str
    hostname: str
    hardware: str
    place: ComputePlace
    flops: Ceiling | None
    bytes: Ceiling | None
    points: tuple[RooflinePoint, ...]
    bus: LinkRate | None = None
    partners: tuple[str, ...] = ()

    @property
    def ridge(self) -> float | None:
        """The intensity above which compute, not memory, is the limit. FLOP per byte."""
        return self.flops.per_s / self.bytes.per_s if self.flops and self.bytes else None

    def roof(self, intensity: float) -> float | None:
        """Return the highest possible FLOP/s at an intensity. None if neither ceiling is known."""
        bounds = [self.flops.per_s] if self.flops else []
        bounds += [self.bytes.per_s * intensity] if self.bytes else []
        return min(bounds, default=None)


def build_rooflines(
    rows: Sequence[TaskRow], ceilings: Ceilings | None = None
) -> tuple[Roofline, ...]:
    """Build the rooflines of one sweep's rows. ceilings: from Store.ceilings; None: its own."""
    ceilings = Ceilings(rows) if ceilings is None else ceilings
    groups: dict[tuple[str, ComputePlace, LinkedDevices], list[TaskRow]] = {}
    last = select_last_attempts(rows)
    for row in last:
        if row.has_number:
            groups.setdefault((row.node_id, place_of(row), find_devices(row)), []).append(row)
    links = find_link_rates(last)
    return tuple(
        Roofline(
            sweep_id=group[0].sweep_id,
            node_id=node_id,
            hostname=group[0].hostname,
            hardware=group[0].hardware,
            place=place,
            flops=ceilings.of(group[0], RateUnit.FLOPS),
            bytes=ceilings.of(group[0], RateUnit.BYTES),
            points=compute_points(group),
            bus=find_bus_ceiling(links, group[0]),
            partners=group[0].partner_hostnames,
        )
        for (node_id, place, _), group in sorted(groups.items())
    )


def compute_points(rows: Iterable[TaskRow]) -> tuple[RooflinePoint, ...]:
    """Compute the points of one node and device; `copy` and unknown models have none."""
    cells: dict[tuple[object, ...], list[TaskRow]] = {}
    for row in rows:
        cells.setdefault((read_workload(row), read_implementation(row), row.threads), []).append(
            row
        )
    found = (_compute_point(group, phase) for group in cells.values() for phase in BYTES)
    return tuple(point for point in found if point)


def _compute_point(rows: Sequence[TaskRow], phase: str) -> RooflinePoint | None:
    impl, workload = read_implementation(rows[0]), read_workload(rows[0])
    model = MODELS.get(workload.model)
    timed = [ns for row in rows if (ns := row.ns(phase))]
    flops = rows[0].number(f"{phase}_flops")
    if model is None or not model.layers or not timed or not flops:  # code has no layers
        return None
    moved = _estimate_bytes(workload.model, workload.batch_size, phase, computes_in(rows[0]))
    if phase == "step":
        named = rows[0].optimizer
        moved += estimate_update_bytes(model, named if named in UPDATE_VALUES else USUAL_OPTIMIZER)
    return RooflinePoint(
        framework=impl.framework,
        variant=impl.variant,
        model=workload.model,
        batch_size=workload.batch_size,
        phase=phase,
        intensity=flops / moved,
        flops_per_s=flops / statistics.median(timed) * 1e9,
    )


@lru_cache(maxsize=2**12)  # the same few for every implementation, node and thread count
def _estimate_bytes(model: str, batch_size: int, phase: str, dtype: str) -> float:
    return BYTES[phase](MODELS[model], batch_size, dtype)
