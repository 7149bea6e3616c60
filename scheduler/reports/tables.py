"""Text tables of a report's cells, the same for the terminal and Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from velodrome.adapters.models import list_families
from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.scheduler.reports import proof
from velodrome.scheduler.reports.cell_keys import (
    Implementation,
    Platform,
    Workload,
    implementation_order,
    workload_order,
)
from velodrome.scheduler.reports.cell_rates import compare_to_best, format_cell
from velodrome.scheduler.reports.cell_times import Time, add_times, format_time
from velodrome.scheduler.reports.cell_work import (
    CellWork,
    GridUnit,
    explain_missing,
    explain_units,
    explain_unmetered,
    list_line_units,
    name_cell_unit,
    name_line_unit,
)
from velodrome.scheduler.reports.cells import CellResult, find_best_value, list_shown_phases
from velodrome.scheduler.reports.footnotes import (
    Cells,
    Footnote,
    Instabilities,
    note_instabilities,
    note_outcomes,
    sort_cells,
)
from velodrome.scheduler.reports.task_rows import select_composed_notes


@dataclass(frozen=True)
class TableCell:
    """The text and mark of one table cell.

    mark: verified, itself (verified against itself), unstable, failed, or expected for a failure.
    """

    text: str
    mark: str = ""
    is_best: bool = False
    ratio: float | None = None
    is_unexpected: bool = False


@dataclass(frozen=True)
class TableLine:
    """One row of a table: a workload in one phase, with a cell per implementation."""

    workload: str
    phase: str
    entries: tuple[TableCell, ...]


@dataclass(frozen=True)
class Table:
    """One platform: implementations across, workloads down. remarks: on the whole table."""

    title: str
    implementations: tuple[str, ...]
    lines: tuple[TableLine, ...]
    footnotes: tuple[Footnote, ...]
    remarks: tuple[str, ...] = ()

    @property
    def unexpected(self) -> tuple[Footnote, ...]:
        return tuple(note for note in self.footnotes if note.is_unexpected)

    @property
    def as_expected(self) -> tuple[Footnote, ...]:
        return tuple(
            note for note in self.footnotes if not note.is_unexpected and not note.is_instability
        )

    @property
    def instabilities(self) -> tuple[Footnote, ...]:
        return tuple(note for note in self.footnotes if note.is_instability)


def build_table(platform: Platform, cells: Cells, unit: GridUnit = GridUnit.TIME) -> Table:
    """Build the table of one platform, in the order of the model zoo and the registry."""
    workloads = sorted({workload for workload, _ in cells}, key=workload_order)
    implementations = sorted({impl for _, impl in cells}, key=implementation_order)
    footnotes = note_outcomes(cells)
    instabilities = note_instabilities(cells, unit, len(footnotes))
    lines = [
        TableLine(
            workload.label,
            phase + name_line_unit(_list_works(cells, workload), unit),
            tuple(
                _build_entry(cells, (workload, impl), phase, footnotes, instabilities, unit)
                for impl in implementations
            ),
        )
        for workload in workloads
        for phase in list_shown_phases(_list_cells(cells, workload), unit)
    ]
    if unit is GridUnit.TIME:
        lines.extend(_build_totals(cells, workloads, implementations))
    names = tuple(impl.label for impl in implementations)
    remarks = (
        *_describe_dtypes(platform, {impl for (_, impl), c in cells.items() if c.with_number}),
        *_list_composed(cells, workloads, implementations),
        *proof.describe_code(k[0].model for k, c in sort_cells(cells) if c.is_against_itself),
        *proof.describe_undecided_checks(
            [cell.proof for cell in cells.values() if cell.with_number]
        ),
        *explain_missing((cell.work for cell in cells.values() if cell.with_number), unit),
        *_explain_unmetered(cells.values(), unit),
        *explain_units((_list_works(cells, workload) for workload in workloads), unit),
    )
    notes = (*footnotes.values(), *dict.fromkeys(instabilities.values()))
    return Table(format_title(platform), names, tuple(lines), notes, remarks)


def format_title(platform: Platform) -> str:
    """Format a platform, e.g. `AMD EPYC 7B13, cpu, 2 threads, float32`."""
    threads = f"{platform.threads} thread{'s' if platform.threads != 1 else ''}"
    parts = (platform.hardware, platform.device_name, threads, platform.dtype)
    return ", ".join(part for part in parts if part)


def _list_cells(cells: Cells, workload: Workload) -> list[CellResult]:
    return [cell for place, cell in cells.items() if place[0] == workload]


def _list_works(cells: Cells, workload: Workload) -> Iterator[CellWork]:
    return (cell.work for cell in _list_cells(cells, workload))


def _build_entry(
    cells: Cells,
    place: tuple[Workload, Implementation],
    phase: str,
    footnotes: Mapping[tuple[Workload, Implementation], Footnote],
    instabilities: Instabilities,
    unit: GridUnit,
) -> TableCell:
    cell = cells.get(place)
    if cell is None:
        return TableCell("not in this sweep")
    notes = (footnotes.get(place), instabilities.get((*place, phase)))
    suffix = "".join(f" [{note.number}]" for note in notes if note)
    time = cell.time(phase)
    if time is None and cell.with_number:
        return TableCell(f"no {phase}")
    if time is None:
        mark = "failed" if cell.is_unexpected else "expected"
        return TableCell(cell.status.value + suffix, mark, is_unexpected=cell.is_unexpected)
    line = _list_cells(cells, place[0])
    value = cell.value(phase, unit)
    ratio = compare_to_best(value, find_best_value(line, phase, unit))
    text = format_cell(time, cell.work, phase, unit)
    if value is not None and len(list_line_units(_list_works(cells, place[0]), unit)) > 1:
        text += f" {name_cell_unit(cell.work, unit)}"
    text += suffix
    mark = choose_mark(cell, time) if value is not None else ""  # it is on the value
    return TableCell(text, mark, ratio == 1.0, ratio, cell.is_unexpected)


def choose_mark(cell: CellResult, time: Time) -> str:
    """Return the mark of one phase: the proof is the cell's, the stability the phase's own."""
    if not cell.verified:
        return "failed"
    if not time.is_stable:
        return "unstable"
    return "itself" if cell.is_against_itself else "verified"


def _describe_dtypes(platform: Platform, timed: Iterable[Implementation]) -> Iterator[str]:
    """Name variants with a time that compute in another type than the platform's."""
    for impl in sorted(timed, key=implementation_order):
        if impl.variant in ("float64", "float16", "bfloat16") and impl.variant != platform.dtype:
            yield f"{impl.label}: computes in {impl.variant}, from float32 weights and batches"


def _list_composed(
    cells: Cells, workloads: Sequence[Workload], implementations: Sequence[Implementation]
) -> Iterator[str]:
    """List the operations that adapters compose, with the models that use them."""
    for impl in implementations:
        models: dict[str, dict[str, None]] = {}
        for workload in workloads:
            cell = cells.get((workload, impl))
            for note in select_composed_notes(cell.notes) if cell else ():
                models.setdefault(note, {})[workload.model] = None
        for note, names in models.items():
            yield f"{impl.label}: {note} ({', '.join(names)})"


def _explain_unmetered(cells: Iterable[CellResult], unit: GridUnit) -> tuple[str, ...]:
    if unit is not GridUnit.ENERGY:
        return ()
    phases = ((cell, phase) for cell in cells for phase in TIMED_PHASES)
    return explain_unmetered((cell.work, phase) for cell, phase in phases if cell.time(phase))


def _build_totals(
    cells: Cells, workloads: Sequence[Workload], implementations: Sequence[Implementation]
) -> list[TableLine]:
    """Sum the stages of each auto-encoder family: the study's total pre-training time."""
    lines = []
    for family, members in list_families().items():
        stages = [
            workload
            for workload in workloads
            if workload.model in members and "/ae" in workload.model and not workload.rule
        ]
        if len({workload.model for workload in stages}) < len(members) - 1:
            continue
        for batch_size in sorted({workload.batch_size for workload in stages}):
            parts = [workload for workload in stages if workload.batch_size == batch_size]
            entries = tuple(_sum_stages(cells, parts, impl) for impl in implementations)
            lines.append(
                TableLine(f"{family} pre-training b{batch_size}", "gradient", _mark_best(entries))
            )
    return lines


def _sum_stages(
    cells: Cells, parts: Sequence[Workload], impl: Implementation
) -> tuple[Time | None, str]:
    found = [cells.get((workload, impl)) for workload in parts]
    times = [cell.gradient for cell in found if cell is not None and cell.gradient is not None]
    if len(times) < len(parts):
        return None, "a part has no time"
    total = add_times(times)
    sure = total.is_stable and all(cell is not None and cell.verified for cell in found)
    return total, "verified" if sure else "unstable"


def _mark_best(totals: Sequence[tuple[Time | None, str]]) -> tuple[TableCell, ...]:
    lowest = min((time.median_ns for time, _ in totals if time), default=None)
    return tuple(
        TableCell(why)
        if time is None or lowest is None
        else TableCell(format_time(time), why, time.median_ns == lowest, time.median_ns / lowest)
        for time, why in totals
    )
