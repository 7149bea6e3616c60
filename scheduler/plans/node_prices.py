"""Prices of nodes per hour: of a node's own label, of its type in cluster.yaml, or of `--price`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from velodrome.agents.node import Node
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.declared_hardware import MOST_PRICE
from velodrome.scheduler.plans.declared_nodes import CURRENCY, METADATA_KEY, DeclaredType
from velodrome.scheduler.plans.price_labels import find_label_fault, read_price_label
from velodrome.scheduler.sweeps.quantities import InvalidQuantity, parse_positive

MEND = 'Give a number above 0 and a currency, such as "2.5 USD".'
OF_TYPES = "Those of node types go into cluster.yaml: price_per_hour."
_PRICE = re.compile(r"([0-9.]+)(?:\s+(\S.{0,15}))?")


@dataclass(frozen=True)
class Price:
    """A price per hour. currency: any text; empty: not given."""

    per_hour: float
    currency: str = ""


@dataclass(frozen=True)
class PriceList:
    """The prices of a fleet's nodes. otherwise: of nodes that neither label nor type prices.

    currency: of all of them; a label holds a number alone.
    """

    types: tuple[DeclaredType, ...] = ()
    otherwise: Price | None = None
    currency: str = ""

    def find_fault(self, node: Node) -> str:
        """Say what is wrong with a node's price label, and the fix; empty: nothing."""
        fault = find_label_fault(node.labels)
        return f"{fault[0]}. {fault[1]}" if fault else ""

    def find_price(self, node: Node) -> Price | None:
        """Find the price of a node without a fault; None if nothing gives one."""
        declared = next((each.node for each in self.types if each.is_type_of(node)), None)
        if own := read_price_label(node.labels):
            return Price(own, self.currency)
        if declared and declared.price_per_hour is not None:
            return Price(declared.price_per_hour, declared.price_currency)
        return self.otherwise

    def with_price(self, node: Node) -> Node:
        """Return the node with its price."""
        price = self.find_price(node)
        if price is None:
            return node
        return replace(node, price_per_hour=price.per_hour, price_currency=price.currency)


NO_PRICES = PriceList()


def make_price_list(types: Sequence[DeclaredType], text: str) -> PriceList:
    """Make the price list of a run. text: of `--price`, empty if it is absent.

    A price without a currency is in that of the types, as all prices of a run are in one.
    ConfigError if they are in two.
    """
    currency = next((each.node.price_currency for each in types), "")
    if not text:
        return PriceList(tuple(types), None, currency)
    price = parse_price(text)
    if not price.currency:
        price = replace(price, currency=currency)
    is_priced = any(each.node.price_per_hour is not None for each in types)
    if price.currency != currency and (currency or is_priced):
        problem = f"'{text}' is in {price.currency}, the prices of the cluster file in {currency}"
        mend = f"Give all in one: --price is in {currency} without a currency."
        if not currency:
            problem = f"'{text}' is in {price.currency}, the prices of the cluster file in none"
            mend = f"Add {CURRENCY}: {price.currency} to its metadata: {METADATA_KEY}."
        raise ConfigError("command line, --price", problem, mend)
    return PriceList(tuple(types), price, price.currency)


def parse_price(text: str) -> Price:
    """Parse `2.5` or `2.5 USD`; InvalidQuantity with the fix."""
    found = _PRICE.fullmatch(text.strip())
    if not found:
        raise InvalidQuantity(f"{MEND} {OF_TYPES}" if "=" in text else MEND)
    try:
        return Price(parse_positive(found[1], MOST_PRICE), found[2] or "")
    except InvalidQuantity:
        raise InvalidQuantity(MEND) from None
