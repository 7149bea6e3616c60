"""The rates of a cell: images, vectors or tokens per second, and FLOP/s."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.products import count_units
from velodrome.agents.environments.recipes import did_you_mean
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.ceilings_text import format_rate
from velodrome.scheduler.reports.cell_times import (
    ONE_PROCESS,
    Time,
    format_time,
    format_uncertainty,
    format_width,
)
from velodrome.scheduler.results.ceilings import RateUnit
from velodrome.scheduler.results.rate_columns import RATED_PHASES
from velodrome.scheduler.results.typed_rows import TaskRow

EXAMPLE, TOKEN = "example", "token"
UNKNOWN_WORK = "work not recorded"
NO_PRODUCTS = "no products"


class GridUnit(StrEnum):
    """The quantity that a grid shows."""

    TIME = "time"
    RATE = "rate"
    FLOPS = "flops"

    @property
    def is_rate(self) -> bool:
        """True if higher is better."""
        return self is not GridUnit.TIME


@dataclass(frozen=True)
class CellWork:
    """The work of one call by a cell's rows. unit: `image`, `token` ...; None: not recorded.

    gradient_j: energy of a gradient call, the median over repeats.
    """

    unit: str = EXAMPLE
    examples: int = 0
    tokens: float | None = None
    forward_flops: float | None = None
    gradient_flops: float | None = None
    gradient_j: float | None = None

    @property
    def units(self) -> float:
        """The number of units: tokens of sequences, else examples."""
        return self.examples if self.tokens is None else self.tokens

    def amount(self, unit: GridUnit, phase: str) -> float | None:
        """Return the work of one call of a phase; None if it is not known or there is none."""
        if phase not in RATED_PHASES:
            return None
        return (self.flops(phase) if unit is GridUnit.FLOPS else self.units) or None

    def flops(self, phase: str) -> float | None:
        """Return the operations of one call: a step has those of its gradient, an update none."""
        if phase not in RATED_PHASES:
            return None
        return self.forward_flops if phase in ("forward", "inference") else self.gradient_flops


NO_WORK = CellWork()


@dataclass(frozen=True)
class Rate:
    """Work per second: a median and the bounds of its 95 % interval, None without an interval."""

    per_s: float
    low_per_s: float | None = None
    high_per_s: float | None = None

    @property
    def half_width(self) -> float | None:
        """The larger distance from the median to a bound, over the median; None without bounds."""
        if self.low_per_s is None or self.high_per_s is None or not self.per_s > 0:
            return None
        return max(self.high_per_s - self.per_s, self.per_s - self.low_per_s) / self.per_s


def parse_unit(text: str) -> GridUnit:
    """Parse `--unit`; time if empty. ConfigError for an unknown unit."""
    if text and text not in (*GridUnit,):
        mend = did_you_mean(text, [unit.value for unit in GridUnit])
        raise ConfigError("command line, --unit", f"there is no unit '{text}'", mend)
    return GridUnit(text or GridUnit.TIME)


def read_work(rows: Sequence[TaskRow]) -> CellWork:
    """Read the work of a cell, of one or more rows."""
    first = rows[0]
    energies = [row.energy_per_gradient_j for row in rows if row.energy_per_gradient_j is not None]
    return CellWork(
        unit=name_unit(first),
        examples=first.batch_size,
        tokens=first.tokens,
        forward_flops=first.forward_flops,
        gradient_flops=first.gradient_flops,
        gradient_j=statistics.median(energies) if energies else None,
    )


def name_unit(row: TaskRow) -> str:
    """Return the unit of a row's work: `example` where its model or tokens are not known."""
    if row.tokens is not None:
        return TOKEN
    model = MODELS.get(row.model)
    name = count_units(model, row.batch_size).name if model else EXAMPLE
    return EXAMPLE if name == TOKEN else name


def compute_rate(time: Time, amount: float) -> Rate:
    """Return the rate of a time above 0 in which `amount` is done."""
    if time.low_ns is None or time.high_ns is None or not time.low_ns > 0:
        return Rate(_per_second(amount, time.median_ns))
    bounds = (_per_second(amount, time.high_ns), _per_second(amount, time.low_ns))
    return Rate(_per_second(amount, time.median_ns), *bounds)


def format_cell(time: Time, work: CellWork, phase: str, unit: GridUnit) -> str:
    """Format what a grid's cell shows, with its uncertainty: `3.21 ms ±1.2%`, `5120 ±1.2%`."""
    if unit is GridUnit.TIME:
        return format_time(time)
    amount = work.amount(unit, phase)
    if amount is None or not time.median_ns > 0:
        return NO_PRODUCTS if unit is GridUnit.FLOPS else UNKNOWN_WORK
    rate = compute_rate(time, amount)
    text = format_amount(rate.per_s, unit)
    uncertainty = format_rate_uncertainty(rate, time)
    return text if uncertainty == ONE_PROCESS else f"{text} {uncertainty}"


def format_rate_uncertainty(rate: Rate, time: Time) -> str:
    """Format as the uncertainty of the time is, with the width of the rate's own interval."""
    if rate.half_width is None:
        return format_uncertainty(time)
    return format_width(rate.half_width, time.source)


def describe_rates(time: Time, work: CellWork, phase: str) -> str:
    """Describe both rates by the median: `5,120 images/s, 812 GFLOP/s`; empty if unknown."""
    names = {GridUnit.RATE: f" {work.unit}s/s", GridUnit.FLOPS: ""}
    amounts = {unit: work.amount(unit, phase) for unit in names}
    return ", ".join(
        format_amount(compute_rate(time, amount).per_s, unit) + names[unit]
        for unit, amount in amounts.items()
        if amount is not None and time.median_ns > 0
    )


def name_line_unit(works: Iterable[CellWork], unit: GridUnit) -> str:
    """Name the unit of a line's cells behind its phase: `, images/s`; empty if cells name it."""
    names = dict.fromkeys(f"{work.unit}s" for work in works if work.examples)
    return f", {' or '.join(names)}/s" if unit is GridUnit.RATE and names else ""


def compare_to_best(time: Time, best_ns: float | None, unit: GridUnit) -> float | None:
    """Return a time over the best time, or a rate over the best rate; None without a best one."""
    if not best_ns or not time.median_ns > 0:
        return None
    return best_ns / time.median_ns if unit.is_rate else time.median_ns / best_ns


def format_amount(per_s: float, unit: GridUnit) -> str:
    """Format FLOP/s as `812 GFLOP/s`, another rate without its unit: 0.0512, 51.2, 5,120."""
    if unit is GridUnit.FLOPS:
        return format_rate(per_s, RateUnit.FLOPS)
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:#.3g}"


def _per_second(amount: float, ns: float) -> float:
    return amount / ns * 1e9
