"""A function as a Ray task on one node, once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from velodrome.scheduler.errors import ClusterUnreachable


@cache
def remote(function: Callable[..., object]) -> "ray.remote_function.RemoteFunction":
    """Made once: Ray sends each anew to the head, and waits for it."""
    return cast("ray.remote_function.RemoteFunction", ray.remote(function))


def once_on(
    ray_id: str, function: Callable[..., object], **options: object
) -> "ray.remote_function.RemoteFunction":
    """To be run on the node of this id or not at all, and once: Ray would try three times more."""
    placed = remote(function).options(
        max_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(ray_id, soft=False),
        **options,
    )
    return cast("ray.remote_function.RemoteFunction", placed)


@contextmanager
def own_raylet() -> Iterator[None]:
    """ClusterUnreachable if this machine's own Ray is gone, through which every other is reached.

    Calls of Ray's then fail with an OSError such as EPIPE, one sooner than another.
    """
    try:
        yield
    except OSError as error:
        raise ClusterUnreachable(
            f"the Ray on this machine is gone ({error}); what was finished is kept"
        ) from error
