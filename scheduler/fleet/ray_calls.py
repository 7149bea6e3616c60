"""Ray tasks that run once on a given node, and Ray's errors in a line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from velodrome.scheduler.errors import ClusterUnreachable


@cache
def make_remote(function: Callable[..., object]) -> "ray.remote_function.RemoteFunction":
    """Wrap a function as a Ray task. Cached: Ray sends each new wrapper to the head and waits."""
    return cast("ray.remote_function.RemoteFunction", ray.remote(function))


def run_once_on(
    ray_id: str, function: Callable[..., object], **options: object
) -> "ray.remote_function.RemoteFunction":
    """Pin a task to the node with this Ray id, without the three retries that Ray adds."""
    placed = make_remote(function).options(
        max_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(ray_id, soft=False),
        **options,
    )
    return cast("ray.remote_function.RemoteFunction", placed)


def summarize_error(error: ray.exceptions.RayError) -> str:
    """Shorten a Ray error to one line.

    A task's error: the exception that ends the traceback. Ray's own: the first sentence, since the
    rest is advice for those who have Ray's logs.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, ray.exceptions.RayTaskError):
        return lines[-1]
    return f"{type(error).__name__}: {lines[0].partition('. ')[0]}"


@contextmanager
def detect_local_failure() -> Iterator[None]:
    """Raise ClusterUnreachable if this machine's own Ray, the way to all others, is gone.

    Calls of Ray then fail with an OSError such as EPIPE, some sooner than others.
    """
    try:
        yield
    except OSError as error:
        raise ClusterUnreachable(
            f"Ray on this machine has stopped ({error}); finished runs are kept"
        ) from error
