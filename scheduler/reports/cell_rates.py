"""The values of a cell in each unit: rates, FLOP/s, share of the peak, energy and cost."""

from dataclasses import dataclass

from velodrome.scheduler.reports.ceilings_text import format_rate
from velodrome.scheduler.reports.cell_times import (
    ONE_PROCESS,
    Time,
    combine_repeats,
    format_time,
    format_uncertainty,
    format_width,
)
from velodrome.scheduler.reports.cell_work import BANDWIDTHS, CellWork, GridUnit
from velodrome.scheduler.results.ceilings import RateUnit
from velodrome.scheduler.statistics.replication import Repeat

UNKNOWN_WORK = "work not recorded"
MIXED_PRICES = "several prices"
NO_PRODUCTS = "no products"
NO_COLLECTIVE = "no collective"
MISSING = {GridUnit.MFU: "peak unknown", GridUnit.ENERGY: "no energy", GridUnit.COST: "no price"}


@dataclass(frozen=True)
class Rate:
    """A value per second: a median and the bounds of its 95 % interval, None without an interval.

    Of energy and cost: the value itself.
    """

    per_s: float
    low_per_s: float | None = None
    high_per_s: float | None = None

    @property
    def half_width(self) -> float | None:
        """The larger distance from the median to a bound, over the median; None without bounds."""
        if self.low_per_s is None or self.high_per_s is None or not self.per_s > 0:
            return None
        return max(self.high_per_s - self.per_s, self.per_s - self.low_per_s) / self.per_s


@dataclass(frozen=True)
class CellValue:
    """A cell's value in a unit. basis: what was measured, whose uncertainty it has."""

    rate: Rate
    basis: Time


def compute_rate(time: Time, amount: float) -> Rate:
    """Return the rate of a time above 0 in which `amount` is done."""
    if time.low_ns is None or time.high_ns is None or not time.low_ns > 0:
        return Rate(_per_second(amount, time.median_ns))
    bounds = (_per_second(amount, time.high_ns), _per_second(amount, time.low_ns))
    return Rate(_per_second(amount, time.median_ns), *bounds)


def compute_value(time: Time, work: CellWork, phase: str, unit: GridUnit) -> CellValue | None:
    """Return a cell's value in a unit, in ns for times; None if it is not known."""
    if unit is GridUnit.TIME:
        return CellValue(_scale(time, 1.0), time)
    if unit is GridUnit.ENERGY:
        energy = _combine_energy(work, phase) if unit.is_known_of(phase) else None
        return CellValue(_scale(energy, 1.0), energy) if energy else None
    if not time.median_ns > 0:
        return None
    if unit is GridUnit.COST:
        per_ns = work.cost_per_ns
        return None if per_ns is None else CellValue(_scale(time, per_ns), time)
    amount = work.amount(unit, phase)
    return None if amount is None else CellValue(compute_rate(time, amount), time)


def format_cell(time: Time, work: CellWork, phase: str, unit: GridUnit) -> str:
    """Format what a grid's cell shows, with its uncertainty: `3.21 ms ±1.2%`, `5120 ±1.2%`."""
    if unit is GridUnit.TIME:
        return format_time(time)
    found = compute_value(time, work, phase, unit)
    if found is None:
        return describe_missing(work, phase, unit)
    text = format_amount(found.rate.per_s, unit)
    uncertainty = format_rate_uncertainty(found.rate, found.basis)
    return text if uncertainty == ONE_PROCESS else f"{text} {uncertainty}"


def describe_missing(work: CellWork, phase: str, unit: GridUnit) -> str:
    """Say in two words why a timed cell has no value in a unit."""
    if unit in (GridUnit.FLOPS, GridUnit.MFU) and not work.flops(phase):
        return NO_PRODUCTS
    if unit in BANDWIDTHS:
        return NO_COLLECTIVE
    if unit is GridUnit.COST and work.price.is_mixed:
        return MIXED_PRICES
    return MISSING.get(unit, UNKNOWN_WORK)


def format_rate_uncertainty(rate: Rate, time: Time) -> str:
    """Format as the uncertainty of the time is, with the width of the rate's own interval."""
    if rate.half_width is None:
        return format_uncertainty(time)
    return format_width(rate.half_width, time.source)


def describe_rates(time: Time, work: CellWork, phase: str) -> str:
    """Describe both rates by the median: `5,120 images/s, 812 GFLOP/s`; empty if unknown.

    Of a collective operation both bandwidths.
    """
    if work.exchange is not None:
        names = {GridUnit.ALGBW: " algorithm bandwidth", GridUnit.BUSBW: " bus bandwidth"}
    else:
        names = {GridUnit.RATE: f" {work.unit}s/s", GridUnit.FLOPS: ""}
    amounts = {unit: work.amount(unit, phase) for unit in names}
    return ", ".join(
        format_amount(compute_rate(time, amount).per_s, unit) + names[unit]
        for unit, amount in amounts.items()
        if amount is not None and time.median_ns > 0
    )


def compare_to_best(value: float | None, best: float | None) -> float | None:
    """Return a value over the best of its line; None without either."""
    return value / best if value and best else None


def format_amount(value: float, unit: GridUnit) -> str:
    """Format FLOP/s as `812 GFLOP/s`, bandwidth as `11.3 GB/s`, MFU as `41.3 %`.

    Others without a unit: 0.0512, 51.2, 5,120.

    value: per second, of energy and cost per unit.
    """
    if unit is GridUnit.FLOPS:
        return format_rate(value, RateUnit.FLOPS)
    if unit in BANDWIDTHS:
        return format_rate(value, RateUnit.BYTES)
    if unit is GridUnit.MFU:
        return f"{100 * value:.3g} %"
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _combine_energy(work: CellWork, phase: str) -> Time | None:
    """Combine the energies of a phase's repeats, in J per unit."""
    if not work.energies_j.get(phase) or not work.units > 0:
        return None
    each = (energy / work.units for energy in work.energies_j[phase])
    return combine_repeats([Repeat(joules, joules, joules) for joules in each])


def _scale(time: Time, factor: float) -> Rate:
    if time.bounds is None:
        return Rate(time.median_ns * factor)
    low_ns, high_ns = time.bounds
    return Rate(time.median_ns * factor, low_ns * factor, high_ns * factor)


def _per_second(amount: float, ns: float) -> float:
    return amount / ns * 1e9
