"""The framework x model grid of all blocks together: how far from the best, and how often proven.

For sweeps over many node types, thread counts and batch sizes: one place gathers them all. A ratio
is over the best of the same line (course, phase and block), so no time is set beside one that was
taken on another machine; of the ratios of a place the median is told.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cell_keys import Implementation, Workload
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.grid import SHADES, lowest
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells, all_implementations
from velodrome.scheduler.reports.tables import workload_order


@dataclass(frozen=True)
class OverviewCell:
    """One framework's variant on one model. ratio: None where nothing has a number."""

    cells: int
    with_number: int
    ratio: float | None
    why: str = ""

    @property
    def shade(self) -> int:
        return -1 if self.ratio is None else sum(self.ratio > bound for bound in SHADES)


@dataclass(frozen=True)
class Overview:
    """lines: a model, and a place per contestant; None where it was not in the sweep."""

    implementations: tuple[Implementation, ...]
    lines: tuple[tuple[str, tuple[OverviewCell | None, ...]], ...]


Ratios = dict[tuple[Implementation, str], list[tuple[Workload, float]]]


def overview(groups: Sequence[PlatformCells]) -> Overview:
    implementations = all_implementations(groups)
    found = ratios(groups)
    cells: dict[tuple[Implementation, str], list[CellResult]] = {}
    for group in groups:
        for (workload, impl), cell in group.cells.items():
            cells.setdefault((impl, workload.model), []).append(cell)
    models = dict.fromkeys(
        workload.model
        for workload in sorted(
            {workload for group in groups for workload in group.workloads}, key=workload_order
        )
    )
    lines = tuple(
        (
            model,
            tuple(
                _sum(cells.get((impl, model), []), found.get((impl, model), []))
                for impl in implementations
            ),
        )
        for model in models
    )
    return Overview(implementations, lines)


def ratios(groups: Sequence[PlatformCells]) -> Ratios:
    """Over the best of the line, one per block and course: of gradient, else of forward."""
    found: Ratios = {}
    for group in groups:
        for workload in group.workloads:
            for impl, ratio in _line(group, workload):
                found.setdefault((impl, workload.model), []).append((workload, ratio))
    return found


def _line(group: PlatformCells, workload: Workload) -> list[tuple[Implementation, float]]:
    phase = "gradient" if lowest(group, workload, "gradient") else "forward"
    best = lowest(group, workload, phase)
    if best is None or not best.median_ns > 0:
        return []
    return [
        (impl, time.median_ns / best.median_ns)
        for impl in group.implementations
        if (cell := group.cells.get((workload, impl))) and (time := getattr(cell, phase))
    ]


def _sum(
    cells: Sequence[CellResult], found: Sequence[tuple[Workload, float]]
) -> OverviewCell | None:
    if not cells:
        return None
    numbered = sum(1 for cell in cells if cell.with_number)
    ratio = statistics.median(each for _, each in found) if found else None
    why = "" if ratio is not None else _commonest([cell.status.value for cell in cells])
    return OverviewCell(len(cells), numbered, ratio, why.replace("_", " "))


def _commonest(texts: Sequence[str]) -> str:
    return statistics.mode(texts)
