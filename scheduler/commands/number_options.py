"""A number that was typed as an option's value."""

from collections.abc import Callable
from typing import TypeVar

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps.quantities import InvalidQuantity

Value = TypeVar("Value")


def read_option(option: str, text: str, parse: Callable[[str], Value], default: Value) -> Value:
    """default where nothing was typed. ConfigError names the option, and the bound it breaks."""
    if not text:
        return default
    try:
        return parse(text)
    except InvalidQuantity as error:
        raise ConfigError(f"command line, {option}", f"'{text}' is not taken", str(error)) from None
