"""Checks of a worker's timestamps and durations against each other and the agent's clock."""

from collections.abc import Iterator, Sequence

from velodrome.adapters.protocol import Built, FirstCall, Imported, Sampled
from velodrome.agents.validation.arrivals import (
    APART_NS,
    ROUNDING_NS,
    Arrival,
    ProtocolViolation,
    end_ns,
    name_of,
)


def require_timestamps(arrivals: Sequence[Arrival], started_ns: int) -> None:
    """Raise ProtocolViolation for decreasing or future timestamps and impossible durations.

    begun_ns: before the worker started. A duration must fit between its event and the previous one.
    Worker and agent read the same clock.
    """
    previous_ns = started_ns - APART_NS
    for arrival in arrivals:
        at_ns = _at_ns(arrival.event)
        if at_ns is None:
            continue
        name = name_of(type(arrival.event))
        if at_ns < previous_ns - ROUNDING_NS:
            lead = f"`{name}` is {_ms(previous_ns - at_ns)} before the previous event"
            raise ProtocolViolation(f"its clock ran backwards: {lead}")
        if at_ns > arrival.by_ns + APART_NS:
            lag = f"`{name}` is {_ms(at_ns - arrival.by_ns)} after its arrival"
            raise ProtocolViolation(f"its clock is not the node's: {lag}")
        for what, length_ns in _durations(arrival.event):
            if length_ns > at_ns - previous_ns + ROUNDING_NS:
                lengths = f"{_ms(length_ns)}, but {_ms(at_ns - previous_ns)} passed"
                raise ProtocolViolation(f"{what} of `{name}` is {lengths}")
        previous_ns = max(previous_ns, at_ns)


def _at_ns(event: object) -> int | None:
    """The event's timestamp; of samples, the end of the last one. None: it has none."""
    if isinstance(event, Sampled):
        return end_ns(event.started_ns[-1], event.elapsed_ns[-1]) if event.elapsed_ns else None
    at_ns = getattr(event, "at_ns", None)
    return at_ns if isinstance(at_ns, int) else None


def _durations(event: object) -> Iterator[tuple[str, int]]:
    if isinstance(event, Imported):
        yield "import_ns", event.import_ns
    if isinstance(event, FirstCall):
        yield "elapsed_ns", event.elapsed_ns
    if isinstance(event, Built):
        yield "build_ns", event.build_ns
        yield "transfer_ns", event.transfer_ns
        if event.transfer_ns > event.build_ns:
            raise ProtocolViolation("transfer_ns of `built` exceeds build_ns, which includes it")


def _ms(length_ns: int) -> str:
    return f"{length_ns / 1e6:.3g} ms"
