"""Values out of JSON, each held to the type that its field is declared with.

A worker runs others' code, so nothing that it says is taken on trust.
"""

from typing import Any, Callable, Dict, Tuple

WHOLE_LIMIT = 2**63  # columns have 64 bits

Reader = Callable[[Any], Any]


def text(value: Any) -> str:
    """Half a surrogate pair, which no file or terminal takes, becomes a question mark."""
    if not isinstance(value, str):
        raise TypeError("text")
    return value.encode("utf-8", "replace").decode("utf-8")


def whole(value: Any) -> int:
    """Counts, sizes and times: none of them is negative."""
    if type(value) is not int or not 0 <= value < WHOLE_LIMIT:
        raise TypeError("whole number from 0 to 2**63")
    return value


def number(value: Any) -> float:
    """NaN and infinity too: of a gradient that diverged."""
    if type(value) is float or (type(value) is int and abs(value) < WHOLE_LIMIT):
        return float(value)
    raise TypeError("number")


def truth(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError("truth value")
    return value


def several(read: Reader) -> Reader:
    """Of a list, each by `read`; as a tuple."""

    def listed(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise TypeError("list")
        return tuple(read(item) for item in value)

    return listed


# By declared type. What they raise is a TypeError that says what the value is not.
READERS: Dict[Any, Reader] = {
    str: text,
    int: whole,
    float: number,
    bool: truth,
    Tuple[int, ...]: several(whole),
    Tuple[str, ...]: several(text),
}
