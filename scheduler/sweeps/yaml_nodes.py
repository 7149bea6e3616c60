"""YAML nodes that know their position in the file, so that every error can name it.

Only plain YAML is read: one document, a mapping, no aliases (a few hundred bytes of them can stand
for gigabytes), no custom tags, no duplicate keys. Only text is constructed from the file, and only
from printable characters: names end up on terminals.
"""

import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

import yaml

from velodrome.scheduler.errors import ConfigError

MAX_BYTES = 256 * 1024  # a sweep of a few hundred lines has ten; parsing is linear, but not fast
MAX_DEPTH = 16
STANDARD_INPUT = "-"
# Controls, halves of surrogate pairs, and what turns the direction of writing.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CORE = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(
    _CORE + kind
    for kind in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp", "merge", "value")
)


@dataclass(frozen=True)
class Scalar:
    """A value as it is written. place is `file:line:column`."""

    place: str
    text: str
    is_quoted: bool = False


@dataclass(frozen=True)
class Items:
    """A list."""

    place: str
    items: tuple["Value", ...]


@dataclass(frozen=True)
class Fields:
    """A mapping, in the order of the file; keys are distinct."""

    place: str
    entries: tuple[tuple[Scalar, "Value"], ...]

    def get(self, name: str) -> "Value | None":
        return next((value for key, value in self.entries if key.text == name), None)


Value = Scalar | Items | Fields


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a file's text.

    `-` is standard input. ConfigError if it is unreadable, not UTF-8, or too large.
    """
    name = name_source(path)
    return _decode(
        name, _read_standard_input() if os.fspath(path) == STANDARD_INPUT else _read_bytes(name)
    )


def name_source(path: str | os.PathLike[str]) -> str:
    """Return the name that stands before line and column in errors."""
    return "standard input" if os.fspath(path) == STANDARD_INPUT else os.fspath(path)


def parse_yaml(text: str, name: str) -> Fields:
    """Parse a text into a mapping. ConfigError if it is not one. name: precedes every position."""
    root = _compose_document(name, text)
    if root is None:
        raise ConfigError(f"{name}:1:1", "the file is empty", "Start with `frameworks:`.")
    value = _read_value(root, name)
    if not isinstance(value, Fields):
        raise ConfigError(
            value.place, "this is not a mapping", "Give keys with values, like `k: v`."
        )
    return value


def describe_value(value: Value) -> str:
    """Describe a value for an error message."""
    if isinstance(value, Items):
        return "a list"
    if isinstance(value, Fields):
        return "a mapping"
    if not value.text:
        return "nothing"
    return f"'{value.text}'" if len(value.text) <= 40 else f"'{value.text[:40]}...'"


@cache
def _read_standard_input() -> bytes:
    """Read standard input, which works only once, and a command may need its sweep twice."""
    name = name_source(STANDARD_INPUT)
    try:
        return _check_size(name, sys.stdin.buffer.read(MAX_BYTES + 1))
    except (OSError, ValueError, AttributeError) as error:  # closed; None where it always was
        reason = getattr(error, "strerror", None) or "it is closed"
        mend = "Give a sweep, like velodrome plan - < sweep.yaml."
        raise ConfigError(name, f"cannot be read ({reason})", mend) from None


class _PlainLoader(yaml.SafeLoader):
    """Composes nodes only; rejects aliases and deep nesting at their position."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self._refuse(f"*{event.anchor} is an alias, which is not supported", event)
        if self.depth > MAX_DEPTH:
            self._refuse("lists within lists, too deep", event)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)  # type: ignore[arg-type]
        self.depth -= 1
        return node

    def _refuse(self, problem: str, event: yaml.Event) -> NoReturn:
        mark = event.start_mark
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)  # type: ignore[arg-type]


def _read_bytes(name: str) -> bytes:
    try:
        descriptor = os.open(
            name, os.O_RDONLY | os.O_NONBLOCK
        )  # a pipe without a writer would wait
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            raw = file.read(MAX_BYTES + 1) if stat.S_ISREG(mode) else None
    except FileNotFoundError:
        raise ConfigError(name, "there is no such file", "Check the path.") from None
    except IsADirectoryError:
        raise ConfigError(name, "this is a folder", "Name a file in it.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(name, f"cannot be read ({reason})", "Check the path.") from None
    if raw is None:
        mend = "Name a file, or - for standard input."
        raise ConfigError(name, "this is not a regular file", mend)
    return _check_size(name, raw)


def _check_size(name: str, raw: bytes) -> bytes:
    if len(raw) > MAX_BYTES:
        problem = f"the file is larger than {MAX_BYTES // 1024} KiB"
        raise ConfigError(name, problem, "Split it into several sweeps.")
    return raw


def _decode(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig")
        problem = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise ConfigError(_locate(name, before), problem, "Save the file as UTF-8.") from None


def _compose_document(name: str, text: str) -> yaml.Node | None:
    try:
        loader = _PlainLoader(text)
        loader.name = name
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        place = _locate(name, text[: error.position])
        raise ConfigError(place, "this character is not allowed", "Remove it.") from None
    except yaml.MarkedYAMLError as error:
        raise _make_syntax_error(name, error) from None


def _make_syntax_error(name: str, error: yaml.MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    place = _format_place(mark, name) if mark else name
    problem = error.problem or error.context or "syntax error"
    if "alias" in problem:
        return ConfigError(place, problem, "Write the value out; a pattern goes into quotes.")
    if "scanning an alias" in (error.context or ""):
        return ConfigError(place, "a bare * is an alias, which is not supported", 'Write "*".')
    if "too deep" in problem:
        return ConfigError(place, problem, "Write it flatter.")
    if "another document" in problem:
        return ConfigError(
            place, "a second document starts here", "One sweep a file: split it here."
        )
    mend = "Indent with spaces." if "'\\t'" in problem else "Check the line, and the one before it."
    return ConfigError(place, f"not YAML: {problem}", mend)


def _read_value(node: yaml.Node, name: str) -> Value:
    place = _format_place(node.start_mark, name)
    if node.tag not in _PLAIN_TAGS:
        raise ConfigError(place, f"the tag {node.tag} is not supported", "Remove it.")
    if isinstance(node, yaml.ScalarNode):
        return _read_scalar(node, place)
    if isinstance(node, yaml.SequenceNode):
        return Items(place, tuple(_read_value(item, name) for item in node.value))
    return Fields(place, tuple(_read_entries(node, name)))


def _read_scalar(node: yaml.ScalarNode, place: str) -> Scalar:
    is_quoted = node.style in ("'", '"')
    if found := _UNSEEN.search(node.value):
        problem = f"this text holds the control character U+{ord(found[0]):04X}"
        raise ConfigError(place, problem, "Remove it.")
    is_null = node.tag == _CORE + "null" and not is_quoted
    return Scalar(place, "" if is_null else node.value, is_quoted)


def _read_entries(node: yaml.Node, name: str) -> Iterator[tuple[Scalar, Value]]:
    keys: dict[str, Scalar] = {}
    for key_node, value_node in node.value:
        key = _read_value(key_node, name)
        if not isinstance(key, Scalar):
            raise ConfigError(key.place, f"a key is {describe_value(key)}", "Give a word.")
        if key.text in keys:
            first = keys[key.text].place.removeprefix(f"{name}:").split(":")[0]
            problem = f"'{key.text}' is a duplicate of line {first}"
            raise ConfigError(key.place, problem, "Keep one.")
        keys[key.text] = key
        yield key, _read_value(value_node, name)


def _format_place(mark: yaml.Mark, name: str) -> str:
    return f"{name}:{mark.line + 1}:{mark.column + 1}"


def _locate(name: str, before: str) -> str:
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return f"{name}:{line}:{column}"
