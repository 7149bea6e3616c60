"""A cell's energy, cost and shares of what its device can do, as texts; empty if unknown."""

from collections.abc import Iterable, Sequence

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.scheduler.reports.cell_rates import compute_value, format_amount
from velodrome.scheduler.reports.cell_work import (
    GridUnit,
    explain_missing,
    explain_unmetered,
    name_cell_unit,
)
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.formatting import join_names
from velodrome.scheduler.results.typed_rows import TaskRow

PHASES = ("gradient", "step", "inference", "forward")


def describe_energy(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    """Describe where the energies of the phases are from, and which are missing and why."""
    if not cell.work.energies_j:
        return join_names(list_distinct(rows, "energy_reason"), 2)
    source = join_names(list_distinct(rows, "energy_source"))
    missing = explain_unmetered((cell.work, phase) for phase in TIMED_PHASES if cell.time(phase))
    return "; ".join(filter(None, (source, *missing)))


def describe_efficiency(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    best = find_largest(rows, "gradient_efficiency")
    if best is None:
        return ""
    by = join_names(list_distinct(rows, "ceiling_source"), 2)
    return f"{100 * best:.0f} % of the node's measured ceiling{f' ({by})' if by else ''}"


def describe_mfu(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    phase = _choose_phase(cell)
    time = cell.time(phase) if phase else None
    if time is None:
        return ""
    found = compute_value(time, cell.work, phase, GridUnit.MFU)
    if found is None:
        return join_names([*explain_missing([cell.work], GridUnit.MFU)])
    peak = format_amount(cell.work.peak_flops_per_s or 0.0, GridUnit.FLOPS)
    source = join_names(list_distinct(rows, "vendor_peak_source"), 1)
    share = format_amount(found.rate.per_s, GridUnit.MFU)
    return f"{share} of the vendor's {peak} in the {phase} ({source})"


def describe_cost(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    phase, work = _choose_phase(cell), cell.work
    time = cell.time(phase) if phase else None
    found = compute_value(time, work, phase, GridUnit.COST) if time else None
    if found is None:
        return work.price.reason if work.price.is_mixed else ""
    cost = format_amount(found.rate.per_s, GridUnit.COST)
    price = f"{work.price.per_hour:g} {work.price.currency}".rstrip()
    name = name_cell_unit(work, GridUnit.COST)
    return f"{cost} {name} in the {phase}, at {price} an hour for its share of the node"


def _choose_phase(cell: CellResult) -> str:
    """Choose the timed phase that stands for training, else for inference; empty without one."""
    return next((phase for phase in PHASES if cell.time(phase)), "")


def list_distinct(rows: Iterable[TaskRow], column: str) -> list[str]:
    texts = (row.text(column) for row in rows)
    return list(dict.fromkeys(text for text in texts if text))


def find_largest(rows: Iterable[TaskRow], column: str) -> float | None:
    values = (row.number(column) for row in rows)
    return max((value for value in values if value is not None), default=None)
