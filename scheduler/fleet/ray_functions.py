"""A function as a Ray task on one node, once."""

from collections.abc import Callable
from functools import cache
from typing import cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@cache
def make_remote(function: Callable[..., object]) -> "ray.remote_function.RemoteFunction":
    """Made once: Ray sends each anew to the head, and waits for it."""
    return cast("ray.remote_function.RemoteFunction", ray.remote(function))


def run_once_on(
    ray_id: str, function: Callable[..., object], **options: object
) -> "ray.remote_function.RemoteFunction":
    """To be run on the node of this id or not at all, and once: Ray would try three times more."""
    placed = make_remote(function).options(
        max_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(ray_id, soft=False),
        **options,
    )
    return cast("ray.remote_function.RemoteFunction", placed)
