"""The framework x model grid over all platforms: the median ratio to the best of each line.

For sweeps over many node types, thread counts and batch sizes. A ratio is to the best of the same
line (workload, phase and platform), so times of different machines are never compared; a cell shows
the median of its ratios.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cell_keys import Implementation, Workload, workload_order
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.cell_values import SHADES
from velodrome.scheduler.reports.html.grid import find_fastest
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells, list_implementations


@dataclass(frozen=True)
class OverviewCell:
    """One implementation on one model. ratio: None if no cell has a time; why: the status then."""

    cells: int
    with_number: int
    ratio: float | None
    why: str = ""

    @property
    def shade(self) -> int:
        return -1 if self.ratio is None else sum(self.ratio > bound for bound in SHADES)


@dataclass(frozen=True)
class Overview:
    """The grid. lines: a model and a cell per implementation, None if not in the sweep."""

    implementations: tuple[Implementation, ...]
    lines: tuple[tuple[str, tuple[OverviewCell | None, ...]], ...]


Ratios = dict[tuple[Implementation, str], list[tuple[Workload, float]]]


def build_overview(groups: Sequence[PlatformCells]) -> Overview:
    implementations = list_implementations(groups)
    found = compute_ratios(groups)
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
                _summarize(cells.get((impl, model), []), found.get((impl, model), []))
                for impl in implementations
            ),
        )
        for model in models
    )
    return Overview(implementations, lines)


def compute_ratios(groups: Sequence[PlatformCells]) -> Ratios:
    """Compute ratios to the best of each line: of the decisive phase."""
    found: Ratios = {}
    for group in groups:
        for workload in group.workloads:
            for impl, ratio in _compute_line(group, workload):
                found.setdefault((impl, workload.model), []).append((workload, ratio))
    return found


def _compute_line(group: PlatformCells, workload: Workload) -> list[tuple[Implementation, float]]:
    phase = group.find_decisive(workload)
    best = find_fastest(group, workload, phase)
    if best is None or not best.median_ns > 0:
        return []
    return [
        (impl, time.median_ns / best.median_ns)
        for impl in group.implementations
        if (cell := group.cells.get((workload, impl))) and (time := getattr(cell, phase))
    ]


def _summarize(
    cells: Sequence[CellResult], found: Sequence[tuple[Workload, float]]
) -> OverviewCell | None:
    if not cells:
        return None
    numbered = sum(1 for cell in cells if cell.with_number)
    ratio = statistics.median(each for _, each in found) if found else None
    why = "" if ratio is not None else _find_commonest([cell.status.value for cell in cells])
    return OverviewCell(len(cells), numbered, ratio, why.replace("_", " "))


def _find_commonest(texts: Sequence[str]) -> str:
    return statistics.mode(texts)
