"""The framework x model grid of all blocks together: how far from the best, and how often proven.

For sweeps over many node types, thread counts and batch sizes: one place gathers them all. A ratio
is over the best of the same line (course, phase and block), so no time is set beside one that was
taken on another machine; of the ratios of a place the median is told.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.cells import Cell, Contestant, Course
from velodrome.scheduler.reports.html.grid import SHADES, lowest
from velodrome.scheduler.reports.html.grouped_rows import Group, all_contestants
from velodrome.scheduler.reports.tables import course_order


@dataclass(frozen=True)
class Sum:
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

    contestants: tuple[Contestant, ...]
    lines: tuple[tuple[str, tuple[Sum | None, ...]], ...]


Ratios = dict[tuple[Contestant, str], list[tuple[Course, float]]]


def overview(groups: Sequence[Group]) -> Overview:
    contestants = all_contestants(groups)
    found = ratios(groups)
    cells: dict[tuple[Contestant, str], list[Cell]] = {}
    for group in groups:
        for (course, who), cell in group.cells.items():
            cells.setdefault((who, course.model), []).append(cell)
    models = dict.fromkeys(
        course.model
        for course in sorted(
            {course for group in groups for course in group.courses}, key=course_order
        )
    )
    lines = tuple(
        (
            model,
            tuple(
                _sum(cells.get((who, model), []), found.get((who, model), []))
                for who in contestants
            ),
        )
        for model in models
    )
    return Overview(contestants, lines)


def ratios(groups: Sequence[Group]) -> Ratios:
    """Over the best of the line, one per block and course: of gradient, else of forward."""
    found: Ratios = {}
    for group in groups:
        for course in group.courses:
            for who, ratio in _line(group, course):
                found.setdefault((who, course.model), []).append((course, ratio))
    return found


def _line(group: Group, course: Course) -> list[tuple[Contestant, float]]:
    phase = "gradient" if lowest(group, course, "gradient") else "forward"
    best = lowest(group, course, phase)
    if best is None or not best.median_ns > 0:
        return []
    return [
        (who, time.median_ns / best.median_ns)
        for who in group.contestants
        if (cell := group.cells.get((course, who))) and (time := getattr(cell, phase))
    ]


def _sum(cells: Sequence[Cell], found: Sequence[tuple[Course, float]]) -> Sum | None:
    if not cells:
        return None
    numbered = sum(1 for cell in cells if cell.with_number)
    ratio = statistics.median(each for _, each in found) if found else None
    why = "" if ratio is not None else _commonest([cell.status.value for cell in cells])
    return Sum(len(cells), numbered, ratio, why.replace("_", " "))


def _commonest(texts: Sequence[str]) -> str:
    return statistics.mode(texts)
