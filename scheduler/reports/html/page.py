"""Values of the HTML page for its template, with limits on its size.

A page holds an overview of all cells, the grids of the platforms with most times up to MOST_CELLS,
and for each omitted platform its number of times. With 100,000 tasks it takes about 8 MB.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from velodrome.scheduler.reports.acceptance.verdicts import UnitVerdict
from velodrome.scheduler.reports.cell_rows import list_column_phases
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.reports.html import hardware
from velodrome.scheduler.reports.html.acceptance_section import (
    AcceptanceSection,
    build_acceptance_section,
    judge_rows,
)
from velodrome.scheduler.reports.html.fairness_notes import SETTINGS, Treatment, compare_treatments
from velodrome.scheduler.reports.html.figures.chart import FigureSection, SeriesStyle, assign_styles
from velodrome.scheduler.reports.html.figures.sections import build_sections
from velodrome.scheduler.reports.html.figures.traced_tasks import TracedTask, select_traced_tasks
from velodrome.scheduler.reports.html.formatting import format_hardware, format_platform
from velodrome.scheduler.reports.html.grid import (
    Checks,
    Errors,
    Grid,
    build_grid,
    read_no_checks,
    read_no_errors,
)
from velodrome.scheduler.reports.html.grouped_rows import (
    PlatformCells,
    group_rows,
    list_implementations,
)
from velodrome.scheduler.reports.html.missing_values import MOST_REASONS, Reason, collect_reasons
from velodrome.scheduler.reports.html.overview import Overview, build_overview
from velodrome.scheduler.reports.html.published import (
    Published,
    has_times_to_compare,
    load_published,
)
from velodrome.scheduler.reports.html.queries import Queries
from velodrome.scheduler.reports.html.study_tables import StudyTable, build_study_tables
from velodrome.scheduler.reports.html.summary import Sentence, Tile, build_tiles, summarize_sweep
from velodrome.scheduler.reports.precision_ratios import PrecisionTable, compare_precisions
from velodrome.scheduler.reports.process_variation import CellHistory
from velodrome.scheduler.results.detail_rows import NodeRow, ReadingRow
from velodrome.scheduler.results.typed_rows import TaskRow

MOST_CELLS = 2000
MOST_DETAILED = 1000  # cells with details
MOST_STUDY_TABLES = 16
MOST_OMITTED = 200  # platforms that are named

Readings = Callable[[Sequence[TracedTask]], Sequence[ReadingRow]]


@dataclass(frozen=True)
class OmittedPlatform:
    """A platform without a grid on the page."""

    title: str
    cells: int
    with_number: int


@dataclass(frozen=True)
class Page:
    """The values of the template."""

    sweep_id: str
    results: str
    version: str
    rows: int
    tiles: tuple[Tile, ...]
    summary: tuple[Sentence, ...]
    overview: Overview
    unit: str
    grids: tuple[Grid, ...]
    precisions: tuple[PrecisionTable, ...]
    omitted: tuple[OmittedPlatform, ...]
    more_omitted: int
    reasons: tuple[Reason, ...]
    more_reasons: int
    study_tables: tuple[StudyTable, ...]
    published: Published
    shows_published: bool  # from the start, since some times are of the study's device
    styles: tuple[SeriesStyle, ...]
    sections: tuple[FigureSection, ...]
    node_types: tuple[hardware.NodeType, ...]
    environments: tuple[hardware.EnvironmentSummary, ...]
    settings: tuple[str, ...]
    treatments: tuple[Treatment, ...]
    queries: Queries
    has_code: bool  # of a user's, verified against itself
    phases: tuple[str, ...]  # the usual ones, and others with a time
    acceptance: AcceptanceSection | None = None

    @property
    def has_all_evidence(self) -> bool:
        """True if every cell of the grids has details."""
        return all(len(grid.evidence) == grid.cells for grid in self.grids)

    @property
    def is_wide(self) -> bool:
        """True if an overview adds to the grids: there is more than one platform."""
        return len(self.grids) + len(self.omitted) > 1


def build_page(
    sweep_id: str,
    results: str,
    version: str,
    rows: Sequence[TaskRow],
    nodes: Sequence[NodeRow],
    readings: Readings,
    planned: int = 0,
    history: CellHistory | None = None,
    checks: Checks = read_no_checks,
    unit: GridUnit = GridUnit.TIME,
    errors: Errors = read_no_errors,
    verdicts: Sequence[UnitVerdict] | None = None,
) -> Page:
    """Build the page from `tasks` and `nodes` of one sweep. readings: reads `utilization` of a few.

    planned: the number of planned runs, 0 if unknown. history: how processes of its cells differed
    in other sweeps. checks, errors: read those of the cells with details. unit: of the grids.
    verdicts: on its machines, in place of those that the rows alone give.
    """
    groups = group_rows(rows, history)
    shown, omitted = _split_by_room(groups)
    reasons = collect_reasons(groups)
    overview = build_overview(groups)
    styles = assign_styles(list_implementations(groups))
    traced = select_traced_tasks(groups)
    queries = Queries(sweep_id)
    return Page(
        sweep_id=sweep_id,
        results=results,
        version=version,
        rows=len(rows),
        tiles=build_tiles(rows, groups),
        summary=summarize_sweep(rows, groups, reasons, planned),
        overview=overview,
        unit=unit.value,
        grids=tuple(_build_grids(shown, checks, unit, errors)),
        precisions=compare_precisions({group.platform: group.cells for group in shown}),
        omitted=tuple(map(_describe_omitted, omitted[:MOST_OMITTED])),
        more_omitted=max(0, len(omitted) - MOST_OMITTED),
        reasons=reasons[:MOST_REASONS],
        more_reasons=max(0, len(reasons) - MOST_REASONS),
        study_tables=build_study_tables(groups)[:MOST_STUDY_TABLES],
        published=load_published(),
        shows_published=has_times_to_compare(groups),
        styles=styles,
        sections=build_sections(rows, groups, overview, styles, traced, readings(traced), queries),
        node_types=hardware.summarize_node_types(nodes),
        environments=hardware.summarize_environments(rows),
        settings=tuple(SETTINGS),
        treatments=compare_treatments(groups),
        queries=queries,
        has_code=any(cell.is_against_itself for group in groups for cell in group.cells.values()),
        phases=list_column_phases(cell for group in groups for cell in group.cells.values()),
        acceptance=judge_rows(rows) if verdicts is None else build_acceptance_section(verdicts),
    )


def _build_grids(
    shown: Sequence[PlatformCells], checks: Checks, unit: GridUnit, errors: Errors
) -> Iterator[Grid]:
    detailed = 0
    for number, group in enumerate(shown, 1):
        room = MOST_DETAILED - detailed
        grid = build_grid(group, number, detailed + 1, room, checks, unit, errors)
        detailed += len(grid.evidence)
        yield grid


def _split_by_room(
    groups: Sequence[PlatformCells],
) -> tuple[list[PlatformCells], list[PlatformCells]]:
    """Return the platforms that fit, at least one, and the rest."""
    shown: list[PlatformCells] = []
    omitted: list[PlatformCells] = []
    cells = 0
    for group in groups:
        cells += len(group.cells)
        (omitted if shown and cells > MOST_CELLS else shown).append(group)
    return shown, omitted


def _describe_omitted(group: PlatformCells) -> OmittedPlatform:
    title = f"{format_hardware(group.platform)}, {format_platform(group.platform)}"
    return OmittedPlatform(title, len(group.cells), group.with_number)
