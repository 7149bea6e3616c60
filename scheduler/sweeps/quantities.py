"""Parsers for numbers with bounds and units: 64, 0.5, 15m, 16GiB, 1%.

Only ASCII digits count: Python accepts those of other scripts, too, but an author of a file hardly
means them. There are no exponents, no `inf` and no `nan`.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from velodrome.scheduler.errors import ConfigError

T = TypeVar("T")

MOST_WHOLE = 2**31 - 1
MOST_PHASE_S = 7 * 86400.0  # of timing one phase
MOST_DURATION_S = 366 * 86400.0
MOST_SIZE_BYTES = 1024 * 2**40
DURATION_MEND = "Give a number and its unit, like 90s, 15m or 2h."
SIZE_MEND = "Give a number and its unit, like 512MB or 16GiB."
SHARE_MEND = "Give a share above 0 and below 1, like 1% or 0.01."

_WHOLE = re.compile(r"([+-]?)([0-9]+)")
_NUMBER = r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
_DECIMAL = re.compile(_NUMBER)
_DURATION = re.compile(_NUMBER + r"\s*(s|m|min|h|d)")
_SIZE = re.compile(_NUMBER + r"\s*(B|[kKMGT]B|[KMGT]iB)")
_SHARE = re.compile(_NUMBER + r"\s*(%?)")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_DIGITS = 18  # a longer number is over every bound; Python refuses thousands of digits


class InvalidQuantity(ValueError):
    """A text is not such a number, or is out of bounds. The message is the fix, with the bound."""


def parse_whole(text: str, least: int = 1, most: int = MOST_WHOLE) -> int:
    """Parse a whole number within bounds."""
    found = _WHOLE.fullmatch(text)
    digits = found[2].lstrip("0") if found else ""
    number = int(digits or "0") if len(digits) <= _DIGITS else 10**_DIGITS
    if found and found[1] == "-":
        number = -number
    if not found or not least <= number <= most:
        # The far upper bound is named only to those who exceed it.
        is_far = most == MOST_WHOLE and number < most
        raise InvalidQuantity(
            f"Give a whole number above {least - 1}."
            if is_far
            else f"Give a whole number, {least} to {most}."
        )
    return number


def parse_decimal(text: str, least: float = 0.0, most: float = MOST_PHASE_S) -> float:
    """Parse a number within bounds."""
    number = float(text) if _DECIMAL.fullmatch(text) else None
    if number is None or not least <= number <= most:
        raise InvalidQuantity(f"Give a number, {least:g} to {most:.15g}.")
    return number


def parse_positive(text: str, most: float = MOST_PHASE_S) -> float:
    """Parse a number above 0."""
    number = float(text) if _DECIMAL.fullmatch(text) else None
    if number is None or not 0 < number <= most:
        raise InvalidQuantity(f"Give a number above 0, up to {most:.15g}.")
    return number


def parse_duration_s(text: str) -> float:
    """Parse a duration above 0 into seconds."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise InvalidQuantity(DURATION_MEND)
    seconds = float(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= MOST_DURATION_S:
        bound = "at most 366d" if seconds > 0 else "more than 0s"
        raise InvalidQuantity(f"Give {bound}.")
    return seconds


def parse_size_bytes(text: str) -> int:
    """Parse a size above 0 into whole bytes; MB is 1000 x 1000, MiB 1024 x 1024."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise InvalidQuantity(SIZE_MEND)
    unit = found[2]
    base = 1024 if unit.endswith("iB") else 1000
    size = float(found[1]) * base ** _POWERS[unit.removesuffix("B").removesuffix("i").upper()]
    if not 1 <= size <= MOST_SIZE_BYTES:
        bound = "at most 1024TiB" if size >= 1 else "at least 1B"
        raise InvalidQuantity(f"Give {bound}.")
    return int(size)


def parse_share(text: str) -> float:
    """Parse a share above 0 and below 1, from `1%` or `0.01`."""
    found = _SHARE.fullmatch(text.strip())
    value = float(found[1]) / (100 if found[2] else 1) if found else 0.0
    if not 0 < value < 1:
        raise InvalidQuantity(SHARE_MEND)
    return value


def read_option(option: str, text: str, parse: Callable[[str], T], default: T) -> T:
    """Parse an option's value; default if it is empty. ConfigError names option and bound."""
    if not text:
        return default
    try:
        return parse(text)
    except InvalidQuantity as error:
        raise ConfigError(f"command line, {option}", f"'{text}' is invalid", str(error)) from None
