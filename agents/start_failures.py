"""Failures before a worker runs, as statuses with reasons."""

from typing import NamedTuple

from velodrome.agents.cores.assignment import DoesNotFit, ForeignAccelerator
from velodrome.agents.cores.core_locks import WaitedTooLong
from velodrome.agents.cores.lock_files import LocksUnusable
from velodrome.agents.environments.failures import EnvironmentFailed, UnsupportedAccelerator
from velodrome.agents.environments.recipes import RecipeError
from velodrome.agents.isolation.supervised import StartFailed
from velodrome.agents.measurement import Status

START_FAILURES = (
    EnvironmentFailed,
    RecipeError,
    WaitedTooLong,
    DoesNotFit,
    LocksUnusable,
    StartFailed,
)


class StartFailure(NamedTuple):
    """Why no worker ran. log_tail: of the environment's build, if that failed."""

    status: Status
    reason: str
    log_tail: str = ""


def describe_start_failure(error: BaseException) -> StartFailure:
    """Describe one of START_FAILURES."""
    if isinstance(error, UnsupportedAccelerator):
        return StartFailure(Status.UNSUPPORTED, error.reason)
    if isinstance(error, ForeignAccelerator):
        return StartFailure(Status.UNSUPPORTED, str(error))
    if isinstance(error, EnvironmentFailed):
        return StartFailure(Status.ENVIRONMENT_FAILED, error.reason, error.log_tail)
    if isinstance(error, RecipeError):
        return StartFailure(Status.ENVIRONMENT_FAILED, str(error))
    if isinstance(error, StartFailed):
        return StartFailure(Status.CRASHED, f"the worker could not be started: {error}")
    return StartFailure(Status.UNPLACEABLE, str(error))
