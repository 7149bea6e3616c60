"""Costs of a unit of work, read from rows: ns, J, money, or the inverse of MFU. Low is better."""

import math
from collections.abc import Callable, Iterable, Sequence

from velodrome.scheduler.comparison.fingerprints import Mismatch
from velodrome.scheduler.comparison.matching import CellPair, RefusedPair
from velodrome.scheduler.comparison.replication_units import Reader, read_repeat
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.cell_prices import format_price, list_currencies, name_currency
from velodrome.scheduler.reports.cell_work import (
    EXAMPLE,
    TOKEN,
    GridUnit,
    name_unit,
)
from velodrome.scheduler.results.phase_columns import name_energy
from velodrome.scheduler.results.rate_columns import (
    ENERGY_PHASES,
    MILLION,
    NS_PER_HOUR,
    RATED_PHASES,
)
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.replication import Repeat

COST_COLUMNS = (  # of `tasks`, beside the times
    "batch_size",
    "tokens",
    *map(name_energy, ENERGY_PHASES),
    "task_price_per_hour",
    "price_currency",
    "vendor_peak_flops_per_s",
    *(f"{phase}_flops" for phase in RATED_PHASES),
)


def choose_unit(rows: Iterable[TaskRow]) -> str:
    """Return the common unit: tokens only if every row has them, as earlier versions did not."""
    units = {name_unit(row) for row in rows}
    return units.pop() if len(units) == 1 else EXAMPLE


def require_one_currency(rows: Sequence[TaskRow]) -> str:
    """Return the currency of all prices; ConfigError if there are several."""
    found = list_currencies(rows)
    if len(found) > 1:
        names = " and ".join(map(name_currency, found))
        problem = f"prices are in several currencies: {names}"
        raise ConfigError("command line", problem, "Select sweeps with one of them.")
    return found[0] if found else ""


def refuse_mixed_prices(
    pairs: Iterable[CellPair],
) -> tuple[tuple[CellPair, ...], tuple[RefusedPair, ...]]:
    """Return the pairs that have one price per side, and the others, refused.

    A side's cost is the median of its repeats: with two prices it would be neither's.
    """
    kept, refused = [], []
    for pair in pairs:
        base, candidate = (_list_prices(rows) for rows in (pair.base, pair.candidate))
        if max(len(base), len(candidate)) > 1:
            sides = (" and ".join(names) or "none" for names in (base, candidate))
            refused.append(RefusedPair(pair, (Mismatch("price", *sides),)))
        else:
            kept.append(pair)
    return tuple(kept), tuple(refused)


def _list_prices(rows: Iterable[TaskRow]) -> list[str]:
    found = {
        (row.task_price_per_hour, row.price_currency)
        for row in rows
        if row.task_price_per_hour is not None
    }
    return [format_price(*price) for price in sorted(found)]


def make_past_reader(quantity: GridUnit, unit: str = "") -> Reader:
    """Return a reader of the quantity in other sweeps, which show how far it varies by itself.

    COST: the time of a unit, since a price that was changed meanwhile is no variation of its own.
    """
    return make_reader(GridUnit.RATE if quantity is GridUnit.COST else quantity, unit)


def make_cost_reader(unit: str, per_hour: float) -> Reader:
    """Return a reader of the money per million units at this price, whatever that of the row."""
    factor, read = per_hour / NS_PER_HOUR * MILLION, make_reader(GridUnit.RATE, unit)

    def price(row: TaskRow, phase: str) -> Repeat | None:
        found = read(row, phase)
        if found is None:
            return None
        bounds = (found.median_ns, found.low_ns, found.high_ns)
        return Repeat(*(bound * factor for bound in bounds))

    return price


def make_reader(quantity: GridUnit, unit: str = "") -> Reader:
    """Return a reader of what a unit costs.

    RATE: ns; ENERGY: J; COST: money per million units; MFU: its inverse; else the
    time of a call. unit: `token` counts tokens, empty tokens where a row has them, else examples.
    """

    def count(row: TaskRow) -> float:
        return (row.tokens if unit in (TOKEN, "") else None) or row.batch_size

    def read_energy(row: TaskRow, phase: str) -> Repeat | None:
        whole = row.number(name_energy(phase)) if phase in ENERGY_PHASES else None
        if not row.has_number or whole is None or not count(row) > 0:
            return None
        return Repeat(*(3 * (whole / count(row),))) if 0 < whole < math.inf else None

    def scale_time(factor: Callable[[TaskRow, str], float]) -> Reader:
        def read(row: TaskRow, phase: str) -> Repeat | None:
            whole = read_repeat(row, phase) if phase in RATED_PHASES else None
            each = factor(row, phase) if whole else 0.0
            if whole is None or not 0 < each < math.inf:
                return None
            bounds = (whole.median_ns, whole.low_ns, whole.high_ns)
            return Repeat(*(bound * each for bound in bounds))

        return read

    def divide(row: TaskRow, phase: str) -> float:
        return 1 / count(row) if count(row) > 0 else 0.0

    def price(row: TaskRow, phase: str) -> float:
        return (row.task_price_per_hour or 0.0) / NS_PER_HOUR * MILLION * divide(row, phase)

    def fill_peak(row: TaskRow, phase: str) -> float:
        flops = row.number(f"{phase}_flops")
        return (row.vendor_peak_flops_per_s or 0.0) / 1e9 / flops if flops else 0.0

    return {
        GridUnit.RATE: scale_time(divide),
        GridUnit.ENERGY: read_energy,
        GridUnit.COST: scale_time(price),
        GridUnit.MFU: scale_time(fill_peak),
    }.get(quantity, read_repeat)
