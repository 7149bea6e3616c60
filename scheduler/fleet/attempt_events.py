"""Events of a running sweep, for writing rows and showing progress.

Nodes that join or leave are events of velodrome.scheduler.fleet.transport.
"""

from dataclasses import dataclass

from velodrome.agents.measurement import Measurement
from velodrome.scheduler.fleet.attempts import Attempt, EnvironmentOutcome, Preparation


@dataclass(frozen=True)
class Started:
    """An attempt was handed to its node."""

    attempt: Attempt


@dataclass(frozen=True)
class Blocked:
    """An attempt or preparation that waits because others use its node."""

    work: Attempt | Preparation
    hostname: str


@dataclass(frozen=True)
class AttemptReport:
    """A node's report on an attempt: a worker's event or an agent's note."""

    attempt: Attempt
    report: object


@dataclass(frozen=True)
class Ended:
    """An attempt that ended, with its measurement."""

    attempt: Attempt
    measurement: Measurement


@dataclass(frozen=True)
class NoEnvironment:
    """An attempt whose environment could not be built on its node."""

    attempt: Attempt
    outcome: EnvironmentOutcome


@dataclass(frozen=True)
class Lost:
    """An attempt that failed because of its node or of Ray; `again` is the next try, if any."""

    attempt: Attempt
    reason: str
    next_try: Attempt | None


@dataclass(frozen=True)
class OutOfTime:
    """Attempts that do not start because the sweep's time is over."""

    attempts: tuple[Attempt, ...]


@dataclass(frozen=True)
class Preparing:
    """A node builds environments: its latest message."""

    hostname: str
    text: str


@dataclass(frozen=True)
class Waiting:
    """Attempts that wait for a node; they are given up in seconds_left."""

    attempts: tuple[Attempt, ...]
    seconds_left: float
