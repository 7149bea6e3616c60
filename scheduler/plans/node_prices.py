"""Prices of nodes per hour: of a node's own label, of its type in cluster.yaml, or of `--price`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from velodrome.agents.node import Node
from velodrome.scheduler.plans.declared_nodes import DeclaredType
from velodrome.scheduler.sweeps.quantities import InvalidQuantity, parse_positive

LABEL = "velodrome-price-per-hour"  # of a node, for machines without a type in cluster.yaml
MOST = 1e6
MEND = 'Give a number above 0 and a currency, such as "2.5 USD".'
_PRICE = re.compile(r"([0-9.]+)(?:\s+(\S.{0,15}))?")


@dataclass(frozen=True)
class Price:
    """A price per hour. currency: any text; empty: not given."""

    per_hour: float
    currency: str = ""


@dataclass(frozen=True)
class PriceList:
    """The prices of a fleet's nodes. otherwise: of nodes that neither label nor type prices."""

    types: tuple[DeclaredType, ...] = ()
    otherwise: Price | None = None

    def find_price(self, node: Node) -> Price | None:
        """Find the price of a node; None if nothing gives one."""
        declared = next((each.node for each in self.types if each.is_type_of(node)), None)
        currency = self._currency
        if own := _read_label(node):
            return Price(own, currency)
        if declared and declared.price_per_hour is not None:
            return Price(declared.price_per_hour, declared.price_currency)
        return self.otherwise

    def with_price(self, node: Node) -> Node:
        """Return the node with its price."""
        price = self.find_price(node)
        if price is None:
            return node
        return replace(node, price_per_hour=price.per_hour, price_currency=price.currency)

    @property
    def _currency(self) -> str:
        """The currency of labels, which hold a number alone."""
        if self.otherwise:
            return self.otherwise.currency
        return next((each.node.price_currency for each in self.types), "")


NO_PRICES = PriceList()


def make_price_list(types: Sequence[DeclaredType], text: str) -> PriceList:
    """Make the price list of a run. text: of `--price`, empty if it is absent."""
    return PriceList(tuple(types), parse_price(text) if text else None)


def parse_price(text: str) -> Price:
    """Parse `2.5` or `2.5 USD`; InvalidQuantity with the fix."""
    found = _PRICE.fullmatch(text.strip())
    if not found:
        raise InvalidQuantity(MEND)
    try:
        return Price(parse_positive(found[1], MOST), found[2] or "")
    except InvalidQuantity:
        raise InvalidQuantity(MEND) from None


def _read_label(node: Node) -> float | None:
    text = dict(node.labels).get(LABEL, "")
    try:
        return parse_positive(text, MOST) if text else None
    except InvalidQuantity:
        return None
