"""The label with which a node states its own price."""

import difflib
from collections.abc import Iterable

from velodrome.scheduler.plans.declared_hardware import MOST_PRICE
from velodrome.scheduler.sweeps.quantities import InvalidQuantity, parse_positive

LABEL = "velodrome-price-per-hour"  # of a node, for machines without a type in cluster.yaml
MEND = "Give a number above 0, without a currency, such as 1.5."
ALIKE = 0.8  # of difflib: more alike names are taken for misspellings


def read_price_label(labels: Iterable[tuple[str, str]]) -> float | None:
    """Return the price of a node's own label, None without one. InvalidQuantity if it is none."""
    text = dict(labels).get(LABEL)
    if text is None:
        return None
    try:
        return parse_positive(text, MOST_PRICE)
    except InvalidQuantity:
        raise InvalidQuantity(MEND) from None


def find_label_fault(labels: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Find what is wrong with a price label: the problem and its mend; None: nothing."""
    own = dict(labels)
    for name in sorted(own):
        if name != LABEL and difflib.get_close_matches(name, [LABEL], cutoff=ALIKE):
            return f"there is no label '{name}' of Velodrome", f"Did you mean '{LABEL}'?"
    try:
        read_price_label(own.items())
    except InvalidQuantity as error:
        return f"the label {LABEL} holds '{own[LABEL]}'", str(error)
    return None
