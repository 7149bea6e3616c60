"""The work of a cell's calls with what it can be divided by: peak, energy, price."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.products import count_units
from velodrome.agents.environments.recipes import did_you_mean
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.results.rate_columns import RATED_PHASES
from velodrome.scheduler.results.typed_rows import TaskRow

EXAMPLE, TOKEN = "example", "token"
MILLION, NS_PER_HOUR = 1e6, 3.6e12
NO_PRICE = "no price: give price_per_hour in cluster.yaml, or --price"
NO_RECORDED_PEAK = "not recorded by the version that ran it"
ENERGY_PHASE = "gradient"  # the only phase with an energy


class GridUnit(StrEnum):
    """The quantity that a grid shows, or that a comparison is about."""

    TIME = "time"
    RATE = "rate"
    FLOPS = "flops"
    MFU = "mfu"
    ENERGY = "energy"
    COST = "cost"

    @property
    def is_rate(self) -> bool:
        """True if higher is better."""
        return self in (GridUnit.RATE, GridUnit.FLOPS, GridUnit.MFU)

    @property
    def is_of_times(self) -> bool:
        """True if it follows from the times of equal work alone, so that their verdicts hold."""
        return self in (GridUnit.TIME, GridUnit.RATE, GridUnit.FLOPS)

    def is_known_of(self, phase: str) -> bool:
        """Return True if a phase can have it."""
        if self is GridUnit.ENERGY:
            return phase == ENERGY_PHASE
        return self is GridUnit.TIME or phase in RATED_PHASES


@dataclass(frozen=True)
class CellWork:
    """The work of one call by a cell's rows. unit: `image`, `token` ...; None: not recorded.

    energies_j: of a gradient call, one per repeat. peak_flops_per_s: the vendor's. price_per_hour:
    of the task's share of its node. The reasons say why one is missing.
    """

    unit: str = EXAMPLE
    examples: int = 0
    tokens: float | None = None
    forward_flops: float | None = None
    gradient_flops: float | None = None
    energies_j: tuple[float, ...] = ()
    energy_reason: str = ""
    peak_flops_per_s: float | None = None
    peak_reason: str = ""
    price_per_hour: float | None = None
    currency: str = ""

    @property
    def units(self) -> float:
        """The number of units: tokens of sequences, else examples."""
        return self.examples if self.tokens is None else self.tokens

    @property
    def gradient_j(self) -> float | None:
        """Energy of a gradient call: the median over repeats."""
        return statistics.median(self.energies_j) if self.energies_j else None

    def flops(self, phase: str) -> float | None:
        """Return the operations of one call: a step has those of its gradient, an update none.

        None if they are not known or there are none.
        """
        if phase not in RATED_PHASES:
            return None
        found = self.forward_flops if phase in ("forward", "inference") else self.gradient_flops
        return found or None

    def amount(self, unit: GridUnit, phase: str) -> float | None:
        """Return what one call of a phase does, for units that are amounts per second.

        None if it is not known or there is none. Of MFU: the seconds that the peak would take.
        """
        if unit is GridUnit.RATE:
            return (self.units or None) if phase in RATED_PHASES else None
        flops = self.flops(phase)
        if unit is GridUnit.MFU:
            return flops / self.peak_flops_per_s if flops and self.peak_flops_per_s else None
        return flops

    @property
    def cost_per_ns(self) -> float | None:
        """The cost of a million units for each ns that a call takes; None without a price."""
        if self.price_per_hour is None or not self.units > 0:
            return None
        return self.price_per_hour / NS_PER_HOUR * MILLION / self.units


NO_WORK = CellWork()


def parse_unit(text: str) -> GridUnit:
    """Parse `--unit`; time if empty. ConfigError for an unknown unit."""
    if text and text not in (*GridUnit,):
        mend = did_you_mean(text, [unit.value for unit in GridUnit])
        raise ConfigError("command line, --unit", f"there is no unit '{text}'", mend)
    return GridUnit(text or GridUnit.TIME)


def read_work(rows: Sequence[TaskRow]) -> CellWork:
    """Read the work of a cell, of one or more rows."""
    first = rows[0]
    energies = (row.energy_per_gradient_j for row in rows)
    priced = next((row for row in rows if row.task_price_per_hour is not None), first)
    return CellWork(
        unit=name_unit(first),
        examples=first.batch_size,
        tokens=first.tokens,
        forward_flops=first.forward_flops,
        gradient_flops=first.gradient_flops,
        energies_j=tuple(energy for energy in energies if energy is not None),
        energy_reason=next(filter(None, (row.energy_reason for row in rows)), ""),
        peak_flops_per_s=_average([row.vendor_peak_flops_per_s for row in rows]),
        peak_reason=next(filter(None, (row.vendor_peak_reason for row in rows)), ""),
        price_per_hour=priced.task_price_per_hour,
        currency=priced.price_currency,
    )


def name_unit(row: TaskRow) -> str:
    """Return the unit of a row's work: `example` where its model or tokens are not known."""
    if row.tokens is not None:
        return TOKEN
    model = MODELS.get(row.model)
    name = count_units(model, model.batch_size).name if model else EXAMPLE
    return EXAMPLE if name == TOKEN else name


def name_line_unit(works: Iterable[CellWork], unit: GridUnit) -> str:
    """Name the unit of a line's cells behind its phase: `, images/s`; empty if cells name it."""
    counted = [work for work in works if work.examples]
    names = {
        GridUnit.RATE: [f"{work.unit}s/s" for work in counted],
        GridUnit.ENERGY: [f"J per {work.unit}" for work in counted],
        GridUnit.COST: [
            f"{work.currency} per million {work.unit}s".lstrip()
            for work in counted
            if work.price_per_hour is not None
        ],
    }.get(unit, [])
    distinct = " or ".join(dict.fromkeys(names))
    return f", {distinct}" if distinct else ""


def explain_missing(works: Iterable[CellWork], unit: GridUnit) -> tuple[str, ...]:
    """Say why timed cells have no MFU, energy or cost; each reason once."""
    found = dict.fromkeys(filter(None, (_explain(work, unit) for work in works)))
    return tuple(f"no {unit.value.replace('mfu', 'MFU')}: {reason}" for reason in found)


def _explain(work: CellWork, unit: GridUnit) -> str:
    if unit is GridUnit.MFU and not work.peak_flops_per_s:
        return work.peak_reason or NO_RECORDED_PEAK
    if unit is GridUnit.ENERGY and not work.energies_j:
        return work.energy_reason
    return NO_PRICE if unit is GridUnit.COST and work.price_per_hour is None else ""


def _average(values: Sequence[float | None]) -> float | None:
    """Average the peaks of repeats: those of CPUs follow the clock of each run."""
    known = [value for value in values if value]
    return statistics.fmean(known) if known else None
