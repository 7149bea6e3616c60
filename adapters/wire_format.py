"""Requests and events of the protocol as JSON: written, read and checked.

A worker runs third-party code, so a reader checks each field's type and range.
"""

import json
from typing import Any, Callable, Dict, Tuple

from velodrome.adapters.json_fields import READERS, read_tuple
from velodrome.adapters.protocol import (
    CHECKS,
    EVENTS,
    OUTCOMES,
    PHASES,
    SMALL_LIMIT,
    VERSION,
    Checked,
    Figure,
    FirstCall,
    ParameterError,
    Phase,
    ProtocolError,
    Request,
    Sampled,
    Timed,
    Timing,
)

_NAMES = {kind: name for name, kind in EVENTS.items()}


def encode(event: Any) -> str:
    """Return an event as one line of ASCII, without a newline."""
    fields = _plain(event)
    fields["event"] = _NAMES[type(event)]
    return json.dumps(fields, sort_keys=True)


def decode(line: str) -> Any:
    """Return the event of one line. ProtocolError names the fault."""
    try:
        fields = json.loads(line)
        kind = EVENTS[fields.pop("event")]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ProtocolError("not an event: {!r} ({})".format(line[:200], error)) from error
    event = _build(kind, fields)
    if kind in _VALID and not _VALID[kind](event):
        raise ProtocolError("{} is out of range: {}".format(kind.__name__, repr(event)[:200]))
    return event


def encode_request(request: Request) -> str:
    """Return a request as indented JSON."""
    return json.dumps(_plain(request), indent=2, sort_keys=True)


def decode_request(text: str) -> Request:
    """Return the request in a file's text. ProtocolError if it is invalid or of another version."""
    try:
        fields = json.loads(text)
        version = fields.get("version")
        fields["timing"] = _build(Timing, fields.get("timing", {}))
    except (ValueError, AttributeError) as error:
        raise ProtocolError("not a request: {}".format(error)) from error
    if version != VERSION:
        raise ProtocolError("this worker has version {}, not {}".format(VERSION, version))
    request: Request = _build(Request, fields)
    return request


def _plain(value: Any) -> Any:
    """Return nested named tuples as dicts, so that a line names its fields."""
    if hasattr(value, "_fields"):
        return {name: _plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _build(kind: Any, fields: Dict[str, Any]) -> Any:
    if not isinstance(fields, dict):
        raise ProtocolError("{} is not an object: {!r}".format(kind.__name__, fields))
    unknown = sorted(set(fields) - set(kind._fields))
    if unknown:
        raise ProtocolError("{} has no field {!r}".format(kind.__name__, unknown[0]))
    values = {name: _value(kind, name, value) for name, value in fields.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ProtocolError("{}: {}".format(kind.__name__, error)) from error


def _value(kind: Any, name: str, value: Any) -> Any:
    """Read a field's value. ProtocolError if it is not of the field's declared type."""
    read = _READERS[kind.__annotations__[name]]
    try:
        return read(value)
    except TypeError as error:
        text = "{}.{} is not a {}: {!r:.80}".format(kind.__name__, name, error, value)
        raise ProtocolError(text) from None


def _is_check(event: Checked) -> bool:
    return event.name in CHECKS and event.phase in PHASES and event.outcome in OUTCOMES


def _is_chunk(event: Sampled) -> bool:
    count = len(event.started_ns)
    numbers = (event.first_index + count, event.calls)
    is_small = all(number < SMALL_LIMIT for number in numbers)
    return event.phase in PHASES and count == len(event.elapsed_ns) and is_small and event.calls > 0


def _is_interval(event: Timed) -> bool:
    bounds = (event.low_ns, event.median_ns, event.high_ns)
    return event.phase in PHASES and 0 < bounds[0] <= bounds[1] <= bounds[2] < float("inf")


_READERS: Dict[Any, Callable[[Any], Any]] = {
    **READERS,
    Timing: lambda value: value,  # decode_request has read it
    Tuple[ParameterError, ...]: read_tuple(lambda value: _build(ParameterError, value)),
    Tuple[Figure, ...]: read_tuple(lambda value: _build(Figure, value)),
}
# Constraints beyond types: known phases, complete chunks, intervals around a median.
_VALID: Dict[Any, Callable[[Any], bool]] = {
    Phase: lambda event: event.name in PHASES,
    FirstCall: lambda event: event.phase in PHASES,
    Sampled: _is_chunk,
    Checked: _is_check,
    Timed: _is_interval,
}
