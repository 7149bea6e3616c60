"""An event with the time of its arrival, and what is wrong with events."""

from typing import NamedTuple

from velodrome.adapters.protocol import EVENTS

ROUNDING_NS = 10_000  # Python 3.6 reads CLOCK_MONOTONIC as a float of seconds
APART_NS = 1_000_000  # by which two processes may read it apart: some sandboxes keep a copy each


class Heard(NamedTuple):
    """One event. It was written between after_ns and by_ns, CLOCK_MONOTONIC read by the agent.

    At after_ns the pipe was empty, at by_ns the event was read: an agent that is kept busy widens
    the two, and never makes them wrong.
    """

    event: object
    after_ns: int
    by_ns: int


class Contradiction(Exception):
    """Events contradict each other, the model, the request or the agent's clock."""


class Unproven(Exception):
    """A proof was told that proves nothing, or not what was asked."""


def name_of(kind: type) -> str:
    """As it is called in the protocol."""
    return next(name for name, known in EVENTS.items() if known is kind)
