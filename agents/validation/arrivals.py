"""An event with its time of arrival, and the two failures of validation."""

from typing import NamedTuple

from velodrome.adapters.protocol import EVENTS

# A device's own clock measures lengths, the host's start times. The same bound as in
# velodrome.adapters.proof for a stopwatch above the host's clock.
DEVICE_CLOCK = 0.02
ROUNDING_NS = 10_000  # Python 3.6 reads CLOCK_MONOTONIC as a float of seconds
APART_NS = 1_000_000  # difference between two processes' clocks: some sandboxes keep a copy each


class Arrival(NamedTuple):
    """One event, written between after_ns and by_ns: CLOCK_MONOTONIC, read by the agent.

    At after_ns the pipe was empty, at by_ns the event was read. A busy agent widens this interval,
    but it stays correct.
    """

    event: object
    after_ns: int
    by_ns: int


class ProtocolViolation(Exception):
    """Events contradict each other, the model, the request or the agent's clock."""


class ProofRejected(Exception):
    """A `verified` event does not prove that the framework computes the model."""


def name_of(kind: type) -> str:
    """Return the protocol's name of an event's type."""
    return next(name for name, known in EVENTS.items() if known is kind)


def end_ns(started_ns: int, elapsed_ns: int) -> int:
    """Return the earliest end of a sample, by the host's clock."""
    return started_ns + int(elapsed_ns * (1 - DEVICE_CLOCK))
