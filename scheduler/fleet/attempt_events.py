"""What happens to attempts while a sweep runs, as told to whoever keeps rows or shows progress."""

from dataclasses import dataclass

from velodrome.agents.measurement import Measurement
from velodrome.scheduler.fleet.queue import Attempt


@dataclass(frozen=True)
class Started:
    """An attempt was handed to its node."""

    attempt: Attempt


@dataclass(frozen=True)
class Reported:
    """A node says something about an attempt: a worker's event or an agent's note."""

    attempt: Attempt
    report: object


@dataclass(frozen=True)
class Ended:
    """An attempt's measurement."""

    attempt: Attempt
    measurement: Measurement


@dataclass(frozen=True)
class Lost:
    """An attempt came to nothing because of the node or of Ray; `again` is the next try, if any."""

    attempt: Attempt
    reason: str
    again: Attempt | None
