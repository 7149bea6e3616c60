"""Whether the times that a worker tells fit its own clock and the agent's, which are the same."""

from collections.abc import Iterator, Sequence

from velodrome.adapters.protocol import Built, FirstCall, Imported, Sampled
from velodrome.agents.credibility.heard import APART_NS, ROUNDING_NS, Contradiction, Heard, name_of


def require_clock(heard: Sequence[Heard], begun_ns: int) -> None:
    """Contradiction if its clock runs backwards or apart from the agent's, or a time is too long.

    begun_ns: before the worker was started. A duration lies between the event that tells it and
    the one before.
    """
    previous_ns = begun_ns - APART_NS
    for one in heard:
        at_ns = _at_ns(one.event)
        if at_ns is None:
            continue
        name = name_of(type(one.event))
        if at_ns < previous_ns - ROUNDING_NS:
            told = f"`{name}` {_ms(previous_ns - at_ns)} before what came before it"
            raise Contradiction(f"its clock ran backwards: {told}")
        if at_ns > one.by_ns + APART_NS:
            told = f"`{name}` {_ms(at_ns - one.by_ns)} after it had arrived"
            raise Contradiction(f"its clock is not the node's: {told}")
        for what, length_ns in _durations(one.event):
            if length_ns > at_ns - previous_ns + ROUNDING_NS:
                told = f"{_ms(length_ns)}, within {_ms(at_ns - previous_ns)}"
                raise Contradiction(f"{what} of `{name}` is {told}")
        previous_ns = max(previous_ns, at_ns)


def _at_ns(event: object) -> int | None:
    """When it was said; of samples, when the last of them ended. None: it does not say."""
    if isinstance(event, Sampled):
        return event.started_ns[-1] + event.elapsed_ns[-1] if event.elapsed_ns else None
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
            raise Contradiction("transfer_ns of `built` is more than build_ns, which includes it")


def _ms(length_ns: int) -> str:
    return f"{length_ns / 1e6:.3g} ms"
