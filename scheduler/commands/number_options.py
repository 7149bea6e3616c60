"""A number that was typed as an option's value."""

from collections.abc import Callable
from typing import TypeVar

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps.quantities import Unreadable

Value = TypeVar("Value")


def read(option: str, text: str, read: Callable[[str], Value], default: Value) -> Value:
    """default where nothing was typed. ConfigError names the option, and the bound it breaks."""
    if not text:
        return default
    try:
        return read(text)
    except Unreadable as error:
        raise ConfigError(f"command line, {option}", f"'{text}' is not taken", str(error)) from None
