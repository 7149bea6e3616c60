"""A cell's value on the page, beside the best of its line."""

from collections.abc import Iterable

from velodrome.scheduler.reports.cell_rates import (
    CellValue,
    compare_to_best,
    compute_value,
    describe_missing,
    format_amount,
    format_rate_uncertainty,
)
from velodrome.scheduler.reports.cell_times import Time
from velodrome.scheduler.reports.cell_work import (
    CellWork,
    GridUnit,
    explain_missing,
    explain_unmetered,
    list_line_units,
)
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.formatting import show_duration, show_uncertainty

SHADES = (1.1, 1.5, 2.5, 5.0)  # ratios to the best that bound the shades


def find_best(cells: Iterable[CellResult | None], phase: str, unit: GridUnit) -> CellValue | None:
    """Return the best value of a line, None if there is none or they are in different units."""
    found = [
        (value, cell.work)
        for cell in cells
        if cell
        and (time := getattr(cell, phase)) is not None
        and (value := compute_value(time, cell.work, phase, unit)) is not None
    ]
    if len(list_line_units((work for _, work in found), unit)) > 1:
        return None
    values = [value for value, _ in found]
    return (max if unit.is_rate else min)(values, key=lambda one: one.rate.per_s, default=None)


def overlap(left: Time, right: Time) -> bool:
    """Return True if both have intervals and these overlap: neither is shown to be faster."""
    if left.bounds is None or right.bounds is None:
        return False
    return left.bounds[0] <= right.bounds[1] and right.bounds[0] <= left.bounds[1]


def are_disjoint(left: Time, right: Time) -> bool:
    """Return True if both have intervals and these do not overlap."""
    return left.bounds is not None and right.bounds is not None and not overlap(left, right)


def show_value(
    time: Time, found: CellValue | None, work: CellWork, phase: str, unit: GridUnit
) -> tuple[str, str]:
    """Return the number of a cell and its uncertainty; the time where the work is not known."""
    if found is None and not unit.is_of_times:
        has_products = unit is not GridUnit.MFU or work.flops(phase)
        reasons = explain_missing([work], unit) if has_products else ()
        if unit is GridUnit.ENERGY:
            reasons += explain_unmetered([(work, phase)])
        return describe_missing(work, phase, unit), "".join(reasons)
    if found is None or unit is GridUnit.TIME:
        return show_duration(time.median_ns), show_uncertainty(time)
    uncertainty = format_rate_uncertainty(found.rate, found.basis).replace("%", " %")
    return format_amount(found.rate.per_s, unit), uncertainty


def choose_shade(found: CellValue | None, best: CellValue | None, unit: GridUnit) -> int:
    """Return how far a value is from the best of its line, in steps of SHADES; -1: unknown."""
    ratio = compare_to_best(*(value.rate.per_s if value else None for value in (found, best)))
    if not ratio:
        return -1
    return sum((1 / ratio if unit.is_rate else ratio) > bound for bound in SHADES)


def format_ratio(found: CellValue | None, best: CellValue | None) -> str:
    if found is None or best is None:
        return ""
    ratio = compare_to_best(found.rate.per_s, best.rate.per_s)
    if ratio == 1.0 or ratio is None:
        return "best"
    return f"{ratio:.2f}x{' ≈' if overlap(found.basis, best.basis) else ''}"
