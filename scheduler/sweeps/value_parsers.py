"""Readers of values in a sweep file, one function per kind; ConfigError at the value's place."""

import re
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import TypeVar

from velodrome.agents.environments.recipes import did_you_mean
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps import quantities
from velodrome.scheduler.sweeps.yaml_nodes import Fields, Items, Scalar, Value, describe_value

MOST = quantities.MOST_WHOLE
T = TypeVar("T")
_PATTERN = re.compile(r"[*?\[]")


def make_value_error(value: Value, name: str, mend: str) -> ConfigError:
    """Make the error for a value of the wrong kind."""
    return ConfigError(value.place, f"{name} holds {describe_value(value)}", mend)


def read_text(value: Value, name: str) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, Scalar) or not value.text:
        raise make_value_error(value, name, "Give a word.")
    return value.text


def read_quantity(value: Value, name: str, read: Callable[[str], T]) -> T:
    """Read a value with a parser of velodrome.scheduler.sweeps.quantities."""
    try:
        return read(value.text if isinstance(value, Scalar) else "")
    except quantities.InvalidQuantity as error:
        raise make_value_error(value, name, str(error)) from None


def read_number(value: Value, name: str, read: Callable[[str], T]) -> T:
    """Read a number without a unit; in quotes it is a text in YAML, and is rejected."""
    found = read_quantity(value, name, read)
    if isinstance(value, Scalar) and value.is_quoted:
        raise make_value_error(value, name, "Write the number without quotes.")
    return found


def read_whole(value: Value, name: str, *, least: int = 1, most: int = MOST) -> int:
    return read_number(value, name, partial(quantities.parse_whole, least=least, most=most))


def read_memory(value: Value, name: str) -> int:
    return read_quantity(value, name, quantities.parse_size_bytes)


def read_yes_or_no(value: Value, name: str) -> bool:
    if isinstance(value, Scalar) and value.text.lower() in ("true", "false"):
        return value.text.lower() == "true"
    raise make_value_error(value, name, "Give true or false.")


def read_items(value: Value, name: str, example: str) -> tuple[Value, ...]:
    """Read the values of a list that is not empty."""
    if isinstance(value, Items) and value.items:
        return value.items
    if isinstance(value, Items):
        raise ConfigError(value.place, f"{name} is an empty list", f"Give at least one: {example}.")
    raise make_value_error(value, name, f"Give a list, like {example}.")


def read_fields(value: Value, name: str, example: str) -> Fields:
    if not isinstance(value, Fields):
        raise make_value_error(value, name, f"Give a mapping, like {example}.")
    return value


def check_keys(found: Fields, allowed: Collection[str], what: str = "key") -> None:
    """Raise ConfigError at the first unknown key."""
    for key, _ in found.entries:
        if key.text not in allowed:
            raise ConfigError(
                key.place, f"no such {what} '{key.text}'", did_you_mean(key.text, allowed)
            )


def read_one_of(value: Value, name: str, what: str, allowed: Collection[str]) -> str:
    """Read one of the known words."""
    if not isinstance(value, Scalar) or not value.text:
        raise make_value_error(value, name, f"Give the name of a {what}.")
    if value.text not in allowed:
        raise ConfigError(
            value.place, f"no such {what} '{value.text}'", did_you_mean(value.text, allowed)
        )
    return value.text


def read_names(
    value: Value, name: str, what: str, allowed: Mapping[str, tuple[str, ...]], example: str
) -> tuple[str, ...]:
    """Read a list of names, each standing for one or several, without repetitions.

    `*`, `?` and `[...]` as in file names; results keep the order of `known`.
    """
    names = [
        fitting
        for item in read_items(value, name, example)
        for fitting in match_names(item, name, what, allowed)
    ]
    return tuple(dict.fromkeys(single for each_name in names for single in allowed[each_name]))


def match_names(value: Value, name: str, what: str, allowed: Collection[str]) -> tuple[str, ...]:
    """List the known names that a word means: itself, or those that match it as a pattern."""
    if not isinstance(value, Scalar) or not _PATTERN.search(value.text):
        return (read_one_of(value, name, what, allowed),)
    fitting = tuple(each for each in allowed if fnmatchcase(each, value.text))
    if not fitting:
        problem = f"no {what.rstrip(':')} matches '{value.text}'"
        raise ConfigError(value.place, problem, did_you_mean(value.text, allowed))
    return fitting
