"""Times in each precision relative to float32, of cells that were timed in both."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.agents.task import USUAL_DTYPE
from velodrome.scheduler.reports.cell_keys import (
    Implementation,
    Platform,
    Workload,
    implementation_order,
    workload_order,
)
from velodrome.scheduler.reports.cell_times import Time
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.reports.footnotes import Cells
from velodrome.scheduler.reports.tables import (
    Table,
    TableCell,
    TableLine,
    build_table,
    format_title,
)

LEGEND = (
    f"ratio: time in this precision over that in {USUAL_DTYPE}, so below 1 is faster; ≈ the "
    "intervals overlap; each time is verified within the tolerance of its own precision"
)
NO_RATIO = "-"


@dataclass(frozen=True)
class PrecisionRatio:
    """One ratio of medians. is_clear: both times have intervals, which do not overlap."""

    ratio: float
    is_clear: bool
    overlaps: bool

    @property
    def text(self) -> str:
        return f"{self.ratio:.2f}x{' ≈' if self.overlaps else ''}"


@dataclass(frozen=True)
class PrecisionLine:
    """One workload, phase and precision, with a ratio per implementation; None without one."""

    workload: Workload
    phase: str
    dtype: str
    ratios: tuple[PrecisionRatio | None, ...]


@dataclass(frozen=True)
class PrecisionTable:
    """The precisions of one node type, device and thread count. platform: its dtype is empty."""

    platform: Platform
    implementations: tuple[Implementation, ...]
    lines: tuple[PrecisionLine, ...]

    @property
    def title(self) -> str:
        return format_title(self.platform)


def build_tables(found: Mapping[Platform, Cells], unit: GridUnit = GridUnit.TIME) -> list[Table]:
    """Build the table of each platform; where a device has several precisions, their ratios follow.

    found: in the order of the tables. unit: of the platforms' tables.
    """
    tables = []
    for platform, precisions in _group_precisions(found).items():
        tables += [
            build_table(replace(platform, dtype=dtype), cells, unit)
            for dtype, cells in precisions.items()
        ]
        tables += [_build_table(one) for one in _compare(platform, precisions)]
    return tables


def compare_precisions(found: Mapping[Platform, Cells]) -> tuple[PrecisionTable, ...]:
    """Compare the precisions of each device that has cells in several."""
    return tuple(
        table
        for platform, precisions in _group_precisions(found).items()
        for table in _compare(platform, precisions)
    )


def _group_precisions(found: Mapping[Platform, Cells]) -> dict[Platform, dict[str, Cells]]:
    """Group platforms that differ in dtype alone; the key's dtype is empty."""
    groups: dict[Platform, dict[str, Cells]] = {}
    for platform, cells in found.items():
        groups.setdefault(replace(platform, dtype=""), {})[platform.dtype] = cells
    return groups


def _compare(platform: Platform, precisions: Mapping[str, Cells]) -> Iterator[PrecisionTable]:
    """Yield the table of one device, unless no cell was timed in float32 and another precision."""
    usual = precisions.get(USUAL_DTYPE, {})
    others = {dtype: cells for dtype, cells in precisions.items() if dtype != USUAL_DTYPE}
    both = {
        (workload, impl)
        for cells in others.values()
        for (workload, impl) in cells
        if any(_divide(usual, cells, workload, impl, phase) for phase in TIMED_PHASES)
    }
    implementations = tuple(sorted({impl for _, impl in both}, key=implementation_order))
    lines = [
        PrecisionLine(
            workload,
            phase,
            dtype,
            tuple(_divide(usual, cells, workload, impl, phase) for impl in implementations),
        )
        for workload in sorted({workload for workload, _ in both}, key=workload_order)
        for phase in TIMED_PHASES
        for dtype, cells in others.items()
    ]
    if both:
        shown = tuple(line for line in lines if any(line.ratios))
        yield PrecisionTable(platform, implementations, shown)


def _divide(
    usual: Cells, cells: Cells, workload: Workload, impl: Implementation, phase: str
) -> PrecisionRatio | None:
    base, time = (_find_time(found, workload, impl, phase) for found in (usual, cells))
    if base is None or time is None or not base.median_ns > 0:
        return None
    ratio = time.median_ns / base.median_ns
    if base.bounds is None or time.bounds is None:
        return PrecisionRatio(ratio, is_clear=False, overlaps=False)
    overlaps = base.bounds[0] <= time.bounds[1] and time.bounds[0] <= base.bounds[1]
    return PrecisionRatio(ratio, is_clear=not overlaps, overlaps=overlaps)


def _find_time(cells: Cells, workload: Workload, impl: Implementation, phase: str) -> Time | None:
    cell = cells.get((workload, impl))
    return cell.time(phase) if cell else None


def _build_table(found: PrecisionTable) -> Table:
    lines = tuple(
        TableLine(
            line.workload.label,
            f"{line.phase}, {line.dtype}",
            tuple(
                TableCell(one.text, is_best=one.is_clear and one.ratio < 1)
                if one
                else TableCell(NO_RATIO)
                for one in line.ratios
            ),
        )
        for line in found.lines
    )
    return Table(
        f"{found.title}: time relative to {USUAL_DTYPE}",
        tuple(impl.label for impl in found.implementations),
        lines,
        (),
        (LEGEND,),
    )
