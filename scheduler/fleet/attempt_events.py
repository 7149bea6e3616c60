"""What happens while a sweep runs, as told to whoever keeps rows or shows progress.

That nodes come and go is told by the words of velodrome.scheduler.fleet.transport.
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
    """An attempt or a preparation that its node has not begun, since others use the node."""

    work: Attempt | Preparation
    hostname: str


@dataclass(frozen=True)
class AttemptReport:
    """A node says something about an attempt: a worker's event or an agent's note."""

    attempt: Attempt
    report: object


@dataclass(frozen=True)
class Ended:
    """An attempt's measurement."""

    attempt: Attempt
    measurement: Measurement


@dataclass(frozen=True)
class NoEnvironment:
    """An attempt whose environment could not be built on its node."""

    attempt: Attempt
    outcome: EnvironmentOutcome


@dataclass(frozen=True)
class Lost:
    """An attempt came to nothing because of the node or of Ray; `again` is the next try, if any."""

    attempt: Attempt
    reason: str
    again: Attempt | None


@dataclass(frozen=True)
class OutOfTime:
    """Attempts that are not begun any more, since the time for the sweep is over."""

    attempts: tuple[Attempt, ...]


@dataclass(frozen=True)
class Preparing:
    """A node builds environments, or says something about it."""

    hostname: str
    text: str


@dataclass(frozen=True)
class Waiting:
    """Nothing can run until a node comes; seconds_left until what is left is given up."""

    attempts: tuple[Attempt, ...]
    seconds_left: float
