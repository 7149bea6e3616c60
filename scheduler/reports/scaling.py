"""Speed-up and parallel efficiency of tasks on several devices, against one device. Pure.

Speed-up is the ratio of throughputs, examples per second on n devices over those on one. Strong
scaling has the same whole batch on both sides, weak scaling the same batch per device. Efficiency
is the speed-up over n (G. M. Amdahl, AFIPS 1967; J. L. Gustafson, CACM 31 (5), 1988). The interval
is that of the ratio of times, from velodrome.scheduler.statistics.ratio_tests.

The base is the cell on one device of the same framework, variant, model, precision, threads per
device, device kind and node type.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.collectives import find_operation
from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.scheduler.reports.cell_keys import (
    Implementation,
    Platform,
    Workload,
    find_qualifiers,
    implementation_order,
    platform_order,
    read_implementation,
    read_platform,
    read_workload,
    workload_order,
)
from velodrome.scheduler.reports.cell_times import is_valid_repeat, read_repeat, read_repeats
from velodrome.scheduler.reports.communication import (
    EXCHANGING_PHASES,
    UNKNOWN_COMMUNICATION,
    AllReduceTimes,
    Communication,
    measure_share,
)
from velodrome.scheduler.reports.task_rows import select_last_attempts
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.cell_interval import WIDEST
from velodrome.scheduler.statistics.replication import Repeat, combine_repeats
from velodrome.scheduler.sweeps.sweep import Scaling

if TYPE_CHECKING:
    from velodrome.scheduler.statistics.ratio_tests import Comparison
    from velodrome.scheduler.statistics.replication_units import Evidence

TOO_WIDE = "the interval is wider than the speed-up itself: give more repeats"

_Cell = tuple[Platform, Workload, Implementation]
_Cells = Mapping[_Cell, Sequence[TaskRow]]
_RunPlace = tuple[str, int]  # node and repeat, at which compared processes are neighbours


@dataclass(frozen=True)
class ScalingPoint:
    """The speed-up of one cell in one phase. workload: with the whole batch.

    base_ns, time_ns: medians per call on one device and on all. low, high: of the 95 % interval of
    the speed-up; None without one, for which reason says why. communication: of this phase, the
    same for both kinds of scaling.
    """

    platform: Platform
    workload: Workload
    impl: Implementation
    kind: Scaling
    phase: str
    base_ns: float
    time_ns: float
    speedup: float
    low: float | None
    high: float | None
    base_repeats: int
    repeats: int
    reason: str = ""
    communication: Communication = UNKNOWN_COMMUNICATION

    @property
    def devices(self) -> int:
        return self.platform.devices

    @property
    def efficiency(self) -> float:
        """The share of the ideal speed-up, which is the number of devices."""
        return self.speedup / self.devices

    @property
    def efficiency_bounds(self) -> tuple[float, float] | None:
        if self.low is None or self.high is None:
            return None
        return self.low / self.devices, self.high / self.devices


@dataclass(frozen=True)
class MissingScaling:
    """A cell on several devices without a speed-up, with the reason."""

    platform: Platform
    workload: Workload
    impl: Implementation
    reason: str


@dataclass(frozen=True)
class ScalingResult:
    """The speed-ups of one sweep, in the order of reports. Empty: it has no group."""

    points: tuple[ScalingPoint, ...] = ()
    missing: tuple[MissingScaling, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.points or self.missing)


def measure_scaling(rows: Iterable[TaskRow]) -> ScalingResult:
    """Measure the speed-up of every cell on several devices. rows: of one sweep.

    A collective operation has none: one device exchanges nothing.
    """
    given = tuple(rows)
    known = [row for row in given if not find_operation(MODELS.get(row.model))]
    if not any(row.devices > 1 for row in known):  # as in most sweeps
        return ScalingResult()
    cells = _group_cells(known)
    groups = [cell for cell in sorted(cells, key=_order) if cell[0].devices > 1]
    pairs = [
        (cell, kind, base)
        for cell in groups
        for kind, base in _list_bases(cell).items()
        if base in cells
    ]
    with_base = {cell for cell, _, _ in pairs}
    all_reduces = AllReduceTimes(select_last_attempts(given))
    points = _add_communication(_compare(pairs, cells), cells, all_reduces) if pairs else ()
    timed = {(point.platform, point.workload, point.impl) for point in points}
    missing = tuple(
        MissingScaling(*cell, _explain_missing(cell, cells, has_base=cell in with_base))
        for cell in groups
        if cell not in timed
    )
    return ScalingResult(points, missing)


def _compare(
    pairs: Sequence[tuple[_Cell, Scaling, _Cell]], cells: _Cells
) -> tuple[ScalingPoint, ...]:
    """Compare each cell with its base, in every phase that both have."""
    from velodrome.scheduler.statistics.ratio_tests import compare_all  # late: it imports scipy

    evidence = {
        (cell, kind, base, phase): found
        for cell, kind, base in pairs
        for phase in TIMED_PHASES
        if (found := _collect_evidence(cells[base], cells[cell], phase))
    }
    compared = zip(evidence, evidence.values(), compare_all([*evidence.values()]), strict=True)
    return tuple(_build_point(*key, found, ratio) for key, found, ratio in compared)


def _add_communication(
    points: Sequence[ScalingPoint], cells: _Cells, all_reduces: AllReduceTimes
) -> tuple[ScalingPoint, ...]:
    """Add to each point the share of its call that is communication, as far as rows tell it."""
    weak = {(*_cell(one), one.phase): one for one in points if one.kind is Scaling.WEAK}

    def find(point: ScalingPoint) -> Communication:
        if point.phase not in EXCHANGING_PHASES:
            return UNKNOWN_COMMUNICATION
        platform, workload, impl = _cell(point)
        timed = [row for row in cells[_cell(point)] if row.has_number]
        repeats = read_repeats(timed, point.phase)
        found = all_reduces.predict(platform, impl.framework, workload.model, repeats)
        base = weak.get((*_cell(point), point.phase))
        measured = measure_share(base.efficiency, base.efficiency_bounds) if base else None
        return replace(found, measured=measured)

    return tuple(replace(point, communication=find(point)) for point in points)


def _group_cells(rows: Iterable[TaskRow]) -> _Cells:
    """Group the last attempts by cell; rows that say that one of several GPUs computed are out."""
    last = [row for row in select_last_attempts(rows) if row.process_count]
    qualifiers = find_qualifiers(last)
    found: dict[_Cell, list[TaskRow]] = {}
    for row in last:
        cell = (read_platform(row), read_workload(row), read_implementation(row, qualifiers))
        found.setdefault(cell, []).append(row)
    return found


def _list_bases(cell: _Cell) -> dict[Scaling, _Cell]:
    """List the cells on one device that a cell would be compared with."""
    platform, workload, impl = cell
    gpus = 1 if platform.device == "gpu" else platform.gpu_count
    single = replace(platform, gpu_count=gpus, processes=1, nodes=1)
    bases = {Scaling.STRONG: (single, workload, impl)}
    if workload.batch_size % platform.devices == 0:
        part = replace(workload, batch_size=workload.batch_size // platform.devices)
        bases[Scaling.WEAK] = (single, part, impl)
    return bases


def _collect_evidence(
    base: Sequence[TaskRow], group: Sequence[TaskRow], phase: str
) -> "Evidence | None":
    """Collect the processes of both sides; None if one has no time."""
    from velodrome.scheduler.statistics.replication_units import compare_within_sweep

    sides = [_read_repeats(rows, phase) for rows in (base, group)]
    if not all(sides):
        return None
    pairs = [(sides[0][place], sides[1][place]) for place in sides[0] if place in sides[1]]
    found = compare_within_sweep([*sides[0].values()], [*sides[1].values()], pairs)
    return found.with_family(phase)


def _read_repeats(rows: Sequence[TaskRow], phase: str) -> dict[_RunPlace, Repeat]:
    found = {(row.node_id, row.repeat): read_repeat(row, phase) for row in rows if row.has_number}
    return {at: repeat for at, repeat in found.items() if repeat and is_valid_repeat(repeat)}


def _build_point(
    cell: _Cell, kind: Scaling, base: _Cell, phase: str, found: "Evidence", ratio: "Comparison"
) -> ScalingPoint:
    more = cell[1].batch_size / base[1].batch_size  # examples per call
    speedup = more / ratio.ratio
    low, high = (more / bound if bound else math.inf for bound in (ratio.high, ratio.low))
    has_interval = max(high - speedup, speedup - low) <= WIDEST * speedup
    return ScalingPoint(
        *cell,
        kind,
        phase,
        base_ns=combine_repeats(found.base).median_ns,
        time_ns=combine_repeats(found.candidate).median_ns,
        speedup=speedup,
        low=low if has_interval else None,
        high=high if has_interval else None,
        base_repeats=ratio.base_repeats,
        repeats=ratio.candidate_repeats,
        reason="" if has_interval else ratio.reason or TOO_WIDE,
    )


def _explain_missing(cell: _Cell, cells: _Cells, *, has_base: bool) -> str:
    failed = [row for row in cells[cell] if not row.has_number]
    if len(failed) == len(cells[cell]):
        return f"it has no time: {failed[0].status}: {failed[0].reason}"
    if not has_base:
        return "no baseline: this sweep has no such cell on one device" + _hint_threads(cell, cells)
    return "no baseline: the cell on one device has no time in a phase that this one has"


def _hint_threads(cell: _Cell, cells: _Cells) -> str:
    """Name the threads of cells on one device that differ in their threads alone."""
    wanted = {(replace(base[0], threads=0), *base[1:]) for base in _list_bases(cell).values()}
    others = sorted(
        {
            other[0].threads
            for other in cells
            if (replace(other[0], threads=0), *other[1:]) in wanted
        }
    )
    if not others:
        return ""
    own, listed = cell[0].threads, ", ".join(map(str, others))
    return f" with {own} threads, only with {listed}: give `threads` as a number"


def _order(cell: _Cell) -> tuple[object, ...]:
    platform, workload, impl = cell
    return (platform_order(platform), workload_order(workload), implementation_order(impl))


def find_title(point: ScalingPoint) -> tuple[Platform, Scaling, Workload]:
    """Return the single device, kind and workload on it that a point is compared with."""
    platform, workload, _ = _list_bases(_cell(point))[point.kind]
    return platform, point.kind, workload


def _cell(point: ScalingPoint) -> _Cell:
    return point.platform, point.workload, point.impl
