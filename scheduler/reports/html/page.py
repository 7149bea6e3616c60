"""All that a page shows of a sweep, as values for its template; what there is no room for is told.

A sweep of 100,000 tasks has as many cells as a page of ten megabytes can hold: an overview of all
of them always, grids of the blocks that tell most up to MOST_CELLS, and for the rest how many
numbers they have and how to see them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.html.fairness_notes import SETTINGS, Treatment, treatments
from velodrome.scheduler.reports.html.figures.chart import FigureSection, SeriesStyle, assign_styles
from velodrome.scheduler.reports.html.figures.sections import sections
from velodrome.scheduler.reports.html.figures.traced_tasks import TracedTask, chosen
from velodrome.scheduler.reports.html.formatting import format_hardware, format_platform
from velodrome.scheduler.reports.html.grid import Checks, Grid, grid, no_checks
from velodrome.scheduler.reports.html.grouped_rows import (
    PlatformCells,
    all_implementations,
    grouped,
)
from velodrome.scheduler.reports.html.hardware import (
    EnvironmentSummary,
    NodeType,
    environments,
    node_types,
)
from velodrome.scheduler.reports.html.missing_values import MOST_REASONS, Reason, reasons
from velodrome.scheduler.reports.html.overview import Overview, overview
from velodrome.scheduler.reports.html.published import Published, published
from velodrome.scheduler.reports.html.queries import Queries
from velodrome.scheduler.reports.html.study_tables import StudyTable, study_tables
from velodrome.scheduler.reports.html.summary import Sentence, Tile, summary, tiles
from velodrome.scheduler.reports.process_variation import CellHistory
from velodrome.scheduler.reports.task_rows import Row

MOST_CELLS = 2000
MOST_BEHIND = 1000  # cells of which all is told that is known
MOST_STUDY_TABLES = 16
MOST_LEFT_OUT = 200  # blocks that are named

Readings = Callable[[Sequence[TracedTask]], Sequence[Row]]


@dataclass(frozen=True)
class OmittedPlatform:
    """A block that there is no room for."""

    title: str
    cells: int
    with_number: int


@dataclass(frozen=True)
class Page:
    """What the template is given."""

    sweep_id: str
    results: str
    version: str
    rows: int
    tiles: tuple[Tile, ...]
    summary: tuple[Sentence, ...]
    overview: Overview
    grids: tuple[Grid, ...]
    left_out: tuple[OmittedPlatform, ...]
    more_left_out: int
    reasons: tuple[Reason, ...]
    more_reasons: int
    study_tables: tuple[StudyTable, ...]
    published: Published
    styles: tuple[SeriesStyle, ...]
    sections: tuple[FigureSection, ...]
    node_types: tuple[NodeType, ...]
    environments: tuple[EnvironmentSummary, ...]
    settings: tuple[str, ...]
    treatments: tuple[Treatment, ...]
    queries: Queries

    @property
    def has_all_evidence(self) -> bool:
        """Whether every cell of the grids can be pressed."""
        return all(len(grid.behind) == grid.cells for grid in self.grids)

    @property
    def is_wide(self) -> bool:
        """Whether an overview tells more than the grids themselves."""
        return len(self.grids) + len(self.left_out) > 1


def page(
    sweep_id: str,
    results: str,
    version: str,
    rows: Sequence[Row],
    nodes: Sequence[Row],
    readings: Readings,
    planned: int = 0,
    history: CellHistory | None = None,
    checks: Checks = no_checks,
) -> Page:
    """Of rows of `tasks` and `nodes` of one sweep. readings: reads `utilization` of a few tasks.

    planned: how many runs there are to be, 0 if that is not known. history: how the processes of
    its cells differed in other sweeps. checks: reads the checks of the cells that all is told of.
    """
    groups = grouped(rows, history)
    shown, left_out = _with_room(groups)
    why = reasons(groups)
    seen = overview(groups)
    styles = assign_styles(all_implementations(groups))
    picked = chosen(groups)
    queries = Queries(sweep_id)
    return Page(
        sweep_id=sweep_id,
        results=results,
        version=version,
        rows=len(rows),
        tiles=tiles(rows, groups),
        summary=summary(rows, groups, why, planned),
        overview=seen,
        grids=tuple(_grids(shown, checks)),
        left_out=tuple(map(_left_out, left_out[:MOST_LEFT_OUT])),
        more_left_out=max(0, len(left_out) - MOST_LEFT_OUT),
        reasons=why[:MOST_REASONS],
        more_reasons=max(0, len(why) - MOST_REASONS),
        study_tables=study_tables(groups)[:MOST_STUDY_TABLES],
        published=published(),
        styles=styles,
        sections=sections(rows, groups, seen, styles, picked, readings(picked), queries),
        node_types=node_types(nodes),
        environments=environments(rows),
        settings=tuple(SETTINGS),
        treatments=treatments(groups),
        queries=queries,
    )


def _grids(shown: Sequence[PlatformCells], checks: Checks) -> Iterator[Grid]:
    told = 0
    for number, group in enumerate(shown, 1):
        made = grid(group, number, told + 1, MOST_BEHIND - told, checks)
        told += len(made.behind)
        yield made


def _with_room(groups: Sequence[PlatformCells]) -> tuple[list[PlatformCells], list[PlatformCells]]:
    """As many as fit, at least one; and the rest."""
    shown: list[PlatformCells] = []
    left_out: list[PlatformCells] = []
    cells = 0
    for group in groups:
        cells += len(group.cells)
        (left_out if shown and cells > MOST_CELLS else shown).append(group)
    return shown, left_out


def _left_out(group: PlatformCells) -> OmittedPlatform:
    title = f"{format_hardware(group.platform)}, {format_platform(group.platform)}"
    return OmittedPlatform(title, len(group.cells), group.with_number)
