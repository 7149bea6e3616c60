"""What an error of Ray's is to a user, and which of them mean that Ray itself is gone."""

from collections.abc import Iterator
from contextlib import contextmanager

import ray

from velodrome.scheduler.errors import ClusterUnreachable


def summarize_error(error: ray.exceptions.RayError) -> str:
    """One line. Of what a task raised, the exception itself, which ends the traceback; of Ray's
    own, the first sentence: what follows is advice for those who keep its logs.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, ray.exceptions.RayTaskError):
        return lines[-1]
    return f"{type(error).__name__}: {lines[0].partition('. ')[0]}"


@contextmanager
def detect_local_failure() -> Iterator[None]:
    """ClusterUnreachable if this machine's own Ray is gone, through which every other is reached.

    Calls of Ray's then fail with an OSError such as EPIPE, one sooner than another.
    """
    try:
        yield
    except OSError as error:
        raise ClusterUnreachable(
            f"the Ray on this machine is gone ({error}); what was finished is kept"
        ) from error
