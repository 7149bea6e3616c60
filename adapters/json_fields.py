"""Validation of single JSON values, with a reader for each type that a field is declared with.

A worker runs third-party code, so its reader checks every value. A reader raises a TypeError that
names the expected type.
"""

from typing import Any, Callable, Dict, Tuple

WHOLE_LIMIT = 2**63  # columns have 64 bits

Reader = Callable[[Any], Any]


def read_text(value: Any) -> str:
    """Return text; a lone surrogate, which no file or terminal accepts, becomes a question mark."""
    if not isinstance(value, str):
        raise TypeError("text")
    return value.encode("utf-8", "replace").decode("utf-8")


def read_whole(value: Any) -> int:
    """Return a count, size or time; none of them is negative."""
    if type(value) is not int or not 0 <= value < WHOLE_LIMIT:
        raise TypeError("whole number from 0 to 2**63")
    return value


def read_number(value: Any) -> float:
    """Return a float. NaN and infinity are valid: a gradient may diverge."""
    if type(value) is float or (type(value) is int and abs(value) < WHOLE_LIMIT):
        return float(value)
    raise TypeError("number")


def read_bool(value: Any) -> bool:
    """Return a truth value."""
    if type(value) is not bool:
        raise TypeError("truth value")
    return value


def read_tuple(read: Reader) -> Reader:
    """Return a reader of lists that reads each item by `read` and gives a tuple."""

    def read_items(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise TypeError("list")
        return tuple(read(item) for item in value)

    return read_items


# By declared type.
READERS: Dict[Any, Reader] = {
    str: read_text,
    int: read_whole,
    float: read_number,
    bool: read_bool,
    Tuple[int, ...]: read_tuple(read_whole),
    Tuple[str, ...]: read_tuple(read_text),
}
