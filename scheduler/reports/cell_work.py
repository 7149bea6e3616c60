"""The work of a cell's calls with what it can be divided by: peak, energy, price."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.collectives import Exchange, find_exchange
from velodrome.adapters.models.products import count_units
from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.agents.environments.recipes import did_you_mean
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.cell_prices import UNPRICED, CellPrice, name_money, read_price
from velodrome.scheduler.results.phase_columns import name_energy
from velodrome.scheduler.results.rate_columns import (
    ENERGY_PHASES,
    MILLION,
    NS_PER_HOUR,
    RATED_PHASES,
)
from velodrome.scheduler.results.typed_rows import TaskRow

EXAMPLE, TOKEN = "example", "token"
NO_RECORDED_PEAK = "not recorded by the version that ran it"
TOO_SHORT = "shorter than three readings of its meter, or of a version that did not keep it"


class GridUnit(StrEnum):
    """The quantity that a grid shows, or that a comparison is about."""

    TIME = "time"
    RATE = "rate"
    FLOPS = "flops"
    MFU = "mfu"
    ALGBW = "algbw"
    BUSBW = "busbw"
    ENERGY = "energy"
    COST = "cost"

    @property
    def is_rate(self) -> bool:
        """True if higher is better."""
        return self in (GridUnit.RATE, GridUnit.FLOPS, GridUnit.MFU, *BANDWIDTHS)

    @property
    def is_of_times(self) -> bool:
        """True if it follows from the times of equal work alone, so that their verdicts hold."""
        return self in (GridUnit.TIME, GridUnit.RATE, GridUnit.FLOPS, *BANDWIDTHS)

    def is_known_of(self, phase: str) -> bool:
        """Return True if a phase can have it."""
        if self is GridUnit.ENERGY:
            return phase in ENERGY_PHASES
        return self is GridUnit.TIME or phase in RATED_PHASES


BANDWIDTHS = (GridUnit.ALGBW, GridUnit.BUSBW)  # of collective operations


@dataclass(frozen=True)
class CellWork:
    """The work of one call by a cell's rows. unit: `image`, `token` ...; None: not recorded.

    energies_j: of one call by phase, one per repeat. peak_flops_per_s: the vendor's. price: of the
    task's share of its node. exchange: of a collective operation. The reasons say why one is
    missing.
    """

    unit: str = EXAMPLE
    examples: int = 0
    tokens: float | None = None
    forward_flops: float | None = None
    gradient_flops: float | None = None
    energies_j: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    energy_reason: str = ""
    peak_flops_per_s: float | None = None
    peak_reason: str = ""
    price: CellPrice = UNPRICED
    exchange: Exchange | None = None

    @property
    def units(self) -> float:
        """The number of units: tokens of sequences, else examples."""
        return self.examples if self.tokens is None else self.tokens

    def energy_j(self, phase: str) -> float | None:
        """Return the energy of one call of a phase: the median over repeats; None if unknown."""
        known = self.energies_j.get(phase)
        return statistics.median(known) if known else None

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
        if unit in BANDWIDTHS:
            return self._count_exchanged(unit)
        flops = self.flops(phase)
        if unit is GridUnit.MFU:
            return flops / self.peak_flops_per_s if flops and self.peak_flops_per_s else None
        return flops

    def _count_exchanged(self, unit: GridUnit) -> float | None:
        if self.exchange is None:
            return None
        is_bus = unit is GridUnit.BUSBW
        return self.exchange.bus_bytes if is_bus else self.exchange.size_bytes

    @property
    def cost_per_ns(self) -> float | None:
        """The cost of a million units for each ns that a call takes; None without a price."""
        if self.price.per_hour is None or not self.units > 0:
            return None
        return self.price.per_hour / NS_PER_HOUR * MILLION / self.units


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
    return CellWork(
        unit=name_unit(first),
        examples=first.batch_size,
        tokens=first.tokens,
        forward_flops=first.forward_flops,
        gradient_flops=first.gradient_flops,
        energies_j=_read_energies(rows),
        energy_reason=next(filter(None, (row.energy_reason for row in rows)), ""),
        peak_flops_per_s=_average([row.vendor_peak_flops_per_s for row in rows]),
        peak_reason=next(filter(None, (row.vendor_peak_reason for row in rows)), ""),
        price=read_price(rows),
        exchange=find_exchange(MODELS.get(first.model), first.batch_size),
    )


def _read_energies(rows: Sequence[TaskRow]) -> dict[str, tuple[float, ...]]:
    """Read the known energies of one call, one per row, of each phase that has any."""
    found = {}
    for phase in TIMED_PHASES:
        each = [energy for row in rows if (energy := row.number(name_energy(phase))) is not None]
        if each:
            found[phase] = tuple(each)
    return found


def name_unit(row: TaskRow) -> str:
    """Return the unit of a row's work: `example` where its model or tokens are not known."""
    if row.tokens is not None:
        return TOKEN
    model = MODELS.get(row.model)
    name = count_units(model, model.batch_size).name if model else EXAMPLE
    return EXAMPLE if name == TOKEN else name


def name_cell_unit(work: CellWork, unit: GridUnit) -> str:
    """Name the unit of a cell's value: `images/s`, `USD per million images`; empty without one."""
    if not work.examples or unit not in (GridUnit.RATE, GridUnit.ENERGY, GridUnit.COST):
        return ""
    if unit is GridUnit.RATE:
        return f"{work.unit}s/s"
    if unit is GridUnit.ENERGY:
        return f"J per {work.unit}"
    if work.price.per_hour is None:
        return ""
    return f"{name_money(work.price.currency)} per million {work.unit}s"


def list_line_units(works: Iterable[CellWork], unit: GridUnit) -> tuple[str, ...]:
    """List the distinct units of the values of a line: with more than one, none is the best."""
    return tuple(dict.fromkeys(filter(None, (name_cell_unit(work, unit) for work in works))))


def name_line_unit(works: Iterable[CellWork], unit: GridUnit) -> str:
    """Name the unit of a line's cells behind its phase: `, images/s`; empty if cells name it."""
    found = list_line_units(works, unit)
    return f", {found[0]}" if len(found) == 1 else ""


def explain_missing(works: Iterable[CellWork], unit: GridUnit) -> tuple[str, ...]:
    """Say why timed cells have no MFU, energy or cost; each reason once."""
    found = dict.fromkeys(filter(None, (_explain(work, unit) for work in works)))
    return tuple(f"no {unit.value.replace('mfu', 'MFU')}: {reason}" for reason in found)


def explain_unmetered(timed: Iterable[tuple[CellWork, str]]) -> tuple[str, ...]:
    """Say of which phases cells have no energy although they have that of others.

    timed: each cell's work with a phase that has a time.
    """
    phases = dict.fromkeys(
        phase
        for work, phase in timed
        if work.energies_j and phase in ENERGY_PHASES and phase not in work.energies_j
    )
    return (f"no energy of {', '.join(phases)}: {TOO_SHORT}",) if phases else ()


def explain_units(lines: Iterable[Iterable[CellWork]], unit: GridUnit) -> tuple[str, ...]:
    """Say which units stand beside each other in a line, whose cells are then not compared."""
    found = dict.fromkeys(units for line in lines if len(units := list_line_units(line, unit)) > 1)
    return tuple(f"not compared, in different units: {', '.join(units)}" for units in found)


def _explain(work: CellWork, unit: GridUnit) -> str:
    if unit is GridUnit.MFU and not work.peak_flops_per_s:
        return work.peak_reason or NO_RECORDED_PEAK
    if unit is GridUnit.ENERGY and not work.energies_j:
        return work.energy_reason
    return work.price.reason if unit is GridUnit.COST else ""


def _average(values: Sequence[float | None]) -> float | None:
    """Average the peaks of repeats: those of CPUs follow the clock of each run."""
    known = [value for value in values if value]
    return statistics.fmean(known) if known else None
