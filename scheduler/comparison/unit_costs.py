"""Costs of a unit of work, read from rows: ns, J, money, or the inverse of MFU. Low is better."""

import math
from collections.abc import Callable, Iterable, Sequence

from velodrome.scheduler.comparison.replication_units import Reader, read_repeat
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.cell_work import (
    EXAMPLE,
    MILLION,
    NS_PER_HOUR,
    TOKEN,
    GridUnit,
    name_unit,
)
from velodrome.scheduler.results.rate_columns import RATED_PHASES
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.replication import Repeat

COST_COLUMNS = (  # of `tasks`, beside the times
    "batch_size",
    "tokens",
    "energy_per_gradient_j",
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
    priced = (row for row in rows if row.task_price_per_hour is not None)
    found = sorted({row.price_currency for row in priced})
    if len(found) > 1:
        names = " and ".join(name or "none" for name in found)
        problem = f"prices are in several currencies: {names}"
        raise ConfigError("command line", problem, "Select sweeps with one of them.")
    return found[0] if found else ""


def make_reader(quantity: GridUnit, unit: str = "") -> Reader:
    """Return a reader of what a unit costs.

    RATE: ns; ENERGY: J, of gradients; COST: money per million units; MFU: its inverse; else the
    time of a call. unit: `token` counts tokens, empty tokens where a row has them, else examples.
    """

    def count(row: TaskRow) -> float:
        return (row.tokens if unit in (TOKEN, "") else None) or row.batch_size

    def read_energy(row: TaskRow, phase: str) -> Repeat | None:
        whole = row.energy_per_gradient_j
        if phase != "gradient" or not row.has_number or whole is None or not count(row) > 0:
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
