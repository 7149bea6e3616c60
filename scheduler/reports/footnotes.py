"""Footnotes of a table: reasons for missing or unexpected results, and for unstable times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.scheduler.reports.cell_keys import (
    Implementation,
    Workload,
    implementation_order,
    workload_order,
)
from velodrome.scheduler.reports.cell_times import UNKNOWN_INSTABILITY
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.reports.cells import CellResult


@dataclass(frozen=True)
class Footnote:
    """The reason for a missing, partial or unexpected result, or for an unstable time."""

    number: int
    label: str
    reason: str
    rerun: str
    is_unexpected: bool = False
    is_instability: bool = False


Cells = Mapping[tuple[Workload, Implementation], CellResult]
Instabilities = Mapping[tuple[Workload, Implementation, str], Footnote]  # by phase


def note_outcomes(cells: Cells) -> dict[tuple[Workload, Implementation], Footnote]:
    """Number the footnotes in reading order."""
    notes: dict[tuple[Workload, Implementation], Footnote] = {}
    for (workload, impl), cell in sort_cells(cells):
        if cell.status.has_number and not cell.is_unexpected:
            continue
        label = f"{impl.label}, {workload.label}"
        if cell.with_number not in (0, cell.repeats):
            label += f", {cell.repeats - cell.with_number} of {cell.repeats} repeats"
        note = Footnote(
            len(notes) + 1, label, _describe_outcome(cell), cell.rerun, cell.is_unexpected
        )
        notes[(workload, impl)] = note
    return notes


def note_instabilities(cells: Cells, unit: GridUnit, first: int) -> Instabilities:
    """Write one footnote per instability reason of the values that a table in this unit shows.

    first: the number of footnotes before.
    """
    found: dict[str, list[tuple[Workload, Implementation, str]]] = {}
    for (workload, impl), cell in sort_cells(cells):
        for phase in TIMED_PHASES:
            time = cell.time(phase)
            if time and time.instability and cell.value(phase, unit) is not None:
                found.setdefault(time.instability, []).append((workload, impl, phase))
    notes: dict[tuple[Workload, Implementation, str], Footnote] = {}
    for number, (instability, places) in enumerate(found.items(), first + 1):
        note = Footnote(
            number, _name_first(places), _format_instability(instability), "", is_instability=True
        )
        notes.update(dict.fromkeys(places, note))
    return notes


def _format_instability(instability: str) -> str:
    return instability if instability == UNKNOWN_INSTABILITY else f"unstable: {instability}"


def _name_first(places: Sequence[tuple[Workload, Implementation, str]]) -> str:
    """Name the first time and count the others; each has the footnote's number in the table."""
    workload, impl, phase = places[0]
    rest = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{impl.label}, {workload.label} {phase}{rest}"


def sort_cells(cells: Cells) -> list[tuple[tuple[Workload, Implementation], CellResult]]:
    """Sort cells in reading order."""
    return sorted(
        cells.items(),
        key=lambda item: (workload_order(item[0][0]), implementation_order(item[0][1])),
    )


def _describe_outcome(cell: CellResult) -> str:
    """Describe the cell's outcome and, unless it is `agreed`, the expected one."""
    if cell.status.has_number:
        return f"agreed, expected {cell.expected}"
    text = f"{cell.status.value}: {cell.reason}"
    return f"{text} (expected {cell.expected})" if cell.expected else text
