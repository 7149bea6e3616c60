"""The price of a cell: the one that all of its rows have, or the reason for none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from velodrome.scheduler.results.typed_rows import TaskRow

NO_PRICE = "no price: give price_per_hour in cluster.yaml, or --price"
NAMED = 3  # prices in a reason


@dataclass(frozen=True)
class CellPrice:
    """A price per hour of a task's share of its node. reason: why per_hour is None."""

    per_hour: float | None = None
    currency: str = ""
    reason: str = NO_PRICE

    @property
    def is_mixed(self) -> bool:
        """True if there is none because the rows disagree."""
        return self.per_hour is None and self.reason != NO_PRICE


UNPRICED = CellPrice()


def read_price(rows: Sequence[TaskRow]) -> CellPrice:
    """Return the price of rows that are combined to one cost: a cost mixes no two prices."""
    priced = [row for row in rows if row.task_price_per_hour is not None]
    found = sorted({(row.price_currency, row.task_price_per_hour or 0.0) for row in priced})
    if not found:
        return UNPRICED
    if len(found) > 1:
        several = [format_price(per_hour, currency) for currency, per_hour in found]
        return CellPrice(reason=f"repeats of one cell have several prices: {_join(several)}")
    if len(priced) < len(rows):
        without = len(rows) - len(priced)
        return CellPrice(reason=f"{without} of {len(rows)} repeats of one cell have no price")
    ((currency, per_hour),) = found
    return CellPrice(per_hour, currency, "")


def format_price(per_hour: float, currency: str) -> str:
    """Format a price: `2.5 USD per hour`."""
    return f"{f'{per_hour:g} {currency}'.rstrip()} per hour"


def name_money(currency: str) -> str:
    """Name what a cost is in: its currency, or `price` if the user gave none."""
    return currency or "price"


def name_currency(currency: str) -> str:
    return currency or "no currency"


def list_currencies(rows: Iterable[TaskRow]) -> list[str]:
    """List the currencies of all prices, in order; an empty text for prices without one."""
    return sorted({row.price_currency for row in rows if row.task_price_per_hour is not None})


def _join(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
