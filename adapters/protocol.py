"""The border between an agent and a worker: one request in, a line of JSON per event out.

The agent starts `python -m velodrome.adapters.worker REQUEST.json EVENTS_FD`. REQUEST.json holds
one `Request`. The worker writes events to the file descriptor EVENTS_FD, one JSON object a line,
key `event` naming the kind; stdout and stderr belong to the framework's own noise. A worker that
did its work ends with `finished`, one that could not with `failed`; a stream with neither was cut
off.

    measure:   hello, imported, built, first_call+, verified, (sampled+, timed, checked+)+, finished
    reference: hello, finished
    check:     hello, imported, finished

A `phase` stands before the first event of each phase: import, build, verify, then for each of
forward and gradient warmup, itself and prove, and prove once more at the end; a model without a
loss or without trained parameters has no gradient. `failed` stands instead of what was left, at any
place; a check that failed is sent before it.

Version 1 had neither `checked` nor the phase prove: what it said is still read.

Times are nanoseconds of CLOCK_MONOTONIC, the clock that the agent samples utilization by.
`tests/adapters/session.jsonl` is a saved session; a test holds this page to it.
"""

import json
import time
from typing import Any, Callable, Dict, NamedTuple, Tuple

from velodrome.adapters.decoding import READERS, several

VERSION = 2

PHASES = ("import", "build", "verify", "warmup", "forward", "gradient", "update", "prove")

# What a timed phase must show besides a result that agrees: velodrome.adapters.proof says how.
# The last is the agent's, by its own clock; a worker does not send it.
CHECKS = (
    "different_values",
    "clocked_by_two",
    "possible",
    "drained",
    "timed_is_checked",
    "twice_the_work",
    "not_seen_before",
    "follows_parameters",
    "clocked_by_agent",
)
PASSED, FAILED, CANNOT_TELL, IMPOSSIBLE = "passed", "failed", "cannot_tell", "impossible"
OUTCOMES = (PASSED, FAILED, CANNOT_TELL, IMPOSSIBLE)


class ProtocolError(Exception):
    """A request or an event that does not follow this page; the text names the field."""


class Timing(NamedTuple):
    """When the timing of one phase may stop. The rule: velodrome.adapters.timing.stopping."""

    target: float = 0.01  # half-width of the median's 95 % interval over the median
    min_samples: int = 10
    min_seconds: float = 1.0
    max_seconds: float = 60.0


class Request(NamedTuple):
    """What a worker is asked. `action` is `measure`, `reference` or `check`.

    check: import the framework and say its version. reference: compute the float64 reference
    of (model, batch_size, seed) and write it to the path `reference`. measure: read the path
    `reference`, verify, time.
    """

    action: str
    framework: str
    adapter: str  # the module to import; its class `Adapter` is the framework's adapter
    variant: str
    model: str
    batch_size: int
    device: str  # `cpu` or `gpu`
    threads: int
    dtype: str  # `float32`
    seed: int
    reference: str  # path of an .npz file
    timing: Timing = Timing()
    version: int = VERSION


class Hello(NamedTuple):
    """The worker's interpreter runs."""

    python: str
    pid: int
    protocol: int
    at_ns: int


class Phase(NamedTuple):
    """A phase begins; the one before it is over. One of PHASES."""

    name: str
    at_ns: int


class Imported(NamedTuple):
    """The framework is imported and its threads are set."""

    framework_version: str
    numpy_version: str
    import_ns: int
    device_name: str  # as the framework names it, empty for the CPU
    at_ns: int
    kernels: Tuple[str, ...] = ()  # of linear algebra: velodrome.adapters.worker.kernels


class Built(NamedTuple):
    """The network exists, weights and batches are on the device. build_ns includes transfer_ns."""

    build_ns: int
    transfer_ns: int
    at_ns: int


class FirstCall(NamedTuple):
    """The first call of a phase returned: compilation, autotuning and cold caches included."""

    phase: str
    elapsed_ns: int
    at_ns: int


class ParameterError(NamedTuple):
    """How far one parameter's gradient is from the reference: error = |g - ref| / |ref|."""

    name: str
    shape: Tuple[int, ...]
    reference_norm: float
    error: float


class Verified(NamedTuple):
    """Loss and every gradient agree with the float64 reference. Errors are relative, the worst."""

    loss: float
    loss_error: float
    gradient_error: float
    parameters: Tuple[ParameterError, ...]
    notes: Tuple[str, ...]  # what is written by hand, what was checked besides
    at_ns: int


class Sampled(NamedTuple):
    """A chunk of timed samples of one phase. Entry i is sample number first_index + i.

    A sample is `calls` calls in a row; started_ns is when it began, elapsed_ns its whole length.
    """

    phase: str
    first_index: int
    calls: int
    started_ns: Tuple[int, ...]
    elapsed_ns: Tuple[int, ...]


class Timed(NamedTuple):
    """A phase is timed. ns per call: the median and the bounds of its interval by these samples.

    stop_reason is `target`, `settled` or `max_seconds`; stable says whether the interval met the
    target, by enough samples of a speed that held. warmup_samples were run before and thrown away;
    settled: until the speed had come to rest, else until the time for it was over.
    """

    phase: str
    median_ns: float
    low_ns: float
    high_ns: float
    samples: int
    calls: int
    warmup_samples: int
    stop_reason: str
    stable: bool
    settled: bool = True
    worth: float = 0.0  # how many independent samples they are worth; 0: not told
    drift: float = 0.0  # by how much of the median the speed changed, beyond chance
    doubt: str = ""  # why it is not stable: `wide`, `few`, `kinds`, `slow` or `drift`
    bounded: bool = True  # low_ns, high_ns: of 95 % by these samples; else only where they lay


class Figure(NamedTuple):
    """A number that a check went by; the unit stands at the end of its name."""

    name: str
    value: float


class Checked(NamedTuple):
    """What one of CHECKS found of a timed phase.

    outcome: `passed`, `failed`, `cannot_tell` (the noise, or the length of a call, does not allow
    to) or `impossible` (this framework's design does not). reason: one line, empty if it passed.
    """

    name: str
    phase: str
    outcome: str
    figures: Tuple[Figure, ...]
    reason: str
    at_ns: int


class Finished(NamedTuple):
    """All was done. Peak memory of the device by the framework's own count, 0 where it has none."""

    peak_gpu_memory_bytes: int
    at_ns: int
    kernels: Tuple[str, ...] = ()  # as in Imported, with what was loaded since


class Failed(NamedTuple):
    """The worker could not go on.

    status: disagreed, unsupported, environment_failed (the framework cannot be imported),
    out_of_memory, crashed.
    """

    status: str
    reason: str  # one line for a table
    detail: str  # a traceback, or the table of disagreement
    at_ns: int
    parameters: Tuple[ParameterError, ...] = ()
    loss_error: float = float("nan")


EVENTS = {
    "hello": Hello,
    "phase": Phase,
    "imported": Imported,
    "built": Built,
    "first_call": FirstCall,
    "verified": Verified,
    "sampled": Sampled,
    "timed": Timed,
    "checked": Checked,
    "finished": Finished,
    "failed": Failed,
}
_NAMES = {kind: name for name, kind in EVENTS.items()}
SMALL_LIMIT = 2**31  # of calls and indices, whose columns have 32 bits


def _monotonic_ns() -> int:
    return int(time.monotonic() * 1e9)


# CLOCK_MONOTONIC in ns. Chosen once, since it is read within samples; Python 3.6 has floats only.
monotonic_ns: Callable[[], int] = getattr(time, "monotonic_ns", _monotonic_ns)


def encode(event: Any) -> str:
    """One line of ASCII, no newline at its end."""
    fields = _plain(event)
    fields["event"] = _NAMES[type(event)]
    return json.dumps(fields, sort_keys=True)


def decode(line: str) -> Any:
    """The event of one line. ProtocolError names what is wrong with it.

    A worker runs others' code, so nothing is taken on trust: each field is of its type, and within
    what the reader of events counts on.
    """
    try:
        fields = json.loads(line)
        kind = EVENTS[fields.pop("event")]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ProtocolError("not an event: {!r} ({})".format(line[:200], error)) from error
    event = _typed(kind, fields)
    if kind in _SOUND and not _SOUND[kind](event):
        raise ProtocolError("{} cannot be: {}".format(kind.__name__, repr(event)[:200]))
    return event


def encode_request(request: Request) -> str:
    return json.dumps(_plain(request), indent=2, sort_keys=True)


def decode_request(text: str) -> Request:
    """The request of a file. ProtocolError if it is none, or of another version."""
    try:
        fields = json.loads(text)
        version = fields.get("version")
        fields["timing"] = _typed(Timing, fields.get("timing", {}))
    except (ValueError, AttributeError) as error:
        raise ProtocolError("not a request: {}".format(error)) from error
    if version != VERSION:
        raise ProtocolError("this worker speaks version {}, not {}".format(VERSION, version))
    return _typed(Request, fields)


def _plain(value: Any) -> Any:
    """Named tuples to dicts, all the way down, so that a line reads by itself."""
    if hasattr(value, "_fields"):
        return {name: _plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _typed(kind: Any, fields: Dict[str, Any]) -> Any:
    if not isinstance(fields, dict):
        raise ProtocolError("{} is no object: {!r}".format(kind.__name__, fields))
    unknown = sorted(set(fields) - set(kind._fields))
    if unknown:
        raise ProtocolError("{} has no field {!r}".format(kind.__name__, unknown[0]))
    values = {name: _value(kind, name, value) for name, value in fields.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ProtocolError("{}: {}".format(kind.__name__, error)) from error


def _value(kind: Any, name: str, value: Any) -> Any:
    """ProtocolError unless it is of the type that the field is declared with."""
    read = _READERS[kind.__annotations__[name]]
    try:
        return read(value)
    except TypeError as error:
        told = "{}.{} is no {}: {!r:.80}".format(kind.__name__, name, error, value)
        raise ProtocolError(told) from None


def _parameter(value: Any) -> ParameterError:
    return _typed(ParameterError, value)  # type: ignore[no-any-return]


def _figure(value: Any) -> Figure:
    return _typed(Figure, value)  # type: ignore[no-any-return]


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
    Tuple[ParameterError, ...]: several(_parameter),
    Tuple[Figure, ...]: several(_figure),
}
# What types do not say: phases that there are, chunks that are whole, intervals around a time.
_SOUND: Dict[Any, Callable[[Any], bool]] = {
    Phase: lambda event: event.name in PHASES,
    FirstCall: lambda event: event.phase in PHASES,
    Sampled: _is_chunk,
    Checked: _is_check,
    Timed: _is_interval,
}
