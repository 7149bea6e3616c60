"""Syntax of node labels, which Ray's launcher does not check and its nodes reject."""

import re

import yaml

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps import value_parsers
from velodrome.scheduler.sweeps.yaml_nodes import Scalar, Value

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PREFIX = rf"{_PART}(?:\.{_PART})*"
_KEY = re.compile(rf"(?:{_PREFIX}/)?{_NAME}")
_VALUE = re.compile(rf"(?:{_NAME})?")
MOST_PREFIX = 253
MEND = "Use letters, digits, `-`, `_` and `.`, at most 63, a letter or digit first and last."
EXAMPLE = "{velodrome: cpu}"


def read_labels(value: Value, name: str) -> tuple[tuple[str, str], ...]:
    """Read labels, sorted.

    The syntax is Kubernetes'; a key may have a prefix: `ray.io/market-type`.
    """
    found = value_parsers.read_fields(value, name, EXAMPLE)
    return tuple(sorted((_read_key(key), _read_text(key, label)) for key, label in found.entries))


def _read_key(key: Scalar) -> str:
    prefix, slash, _ = key.text.rpartition("/")
    if not _KEY.fullmatch(key.text) or (slash and len(prefix) > MOST_PREFIX):
        raise ConfigError(key.place, f"'{key.text}' is not a valid label name", MEND)
    return key.text


def _read_text(key: Scalar, value: Value) -> str:
    if not isinstance(value, Scalar) or not (value.text or value.is_quoted):
        raise value_parsers.make_value_error(value, f"label {key.text}", "Give a word.")
    if not value.is_quoted and not isinstance(yaml.safe_load(value.text), str):
        mend = f'Put it into quotes: "{value.text}".'
        raise ConfigError(value.place, f"label {key.text} is not a text in YAML", mend)
    if not _VALUE.fullmatch(value.text):
        problem = f"'{value.text}' is not a valid label value"
        raise ConfigError(value.place, problem, MEND)
    return value.text
