"""Ray tasks that run once on a given node, and Ray's errors in a line."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import cast

import ray
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from velodrome.scheduler.errors import ClusterUnreachable

NODE_LABEL = "ray.io/node-id"  # which Ray gives every node


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


def reserve_together(
    ray_ids: Sequence[str], resources: Sequence[tuple[float, float]]
) -> PlacementGroup:
    """Reserve CPUs and GPUs on these nodes, on all at once; what waits holds nothing."""
    group = placement_group(
        [{"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus} for cpus, gpus in resources],
        strategy="STRICT_SPREAD",
        bundle_label_selector=[{NODE_LABEL: ray_id} for ray_id in ray_ids],
    )
    return cast("PlacementGroup", group)


def run_in_group(
    group: PlacementGroup, bundle: int, function: Callable[..., object]
) -> "ray.remote_function.RemoteFunction":
    """Place a streaming task on a bundle's node, once, with all that is reserved there.

    What it starts is not captured.
    """
    reserved = group.bundle_specs[bundle]
    placed = make_remote(function).options(
        max_retries=0,
        num_cpus=reserved.get("CPU", 0),
        num_gpus=reserved.get("GPU", 0),
        num_returns="streaming",
        scheduling_strategy=PlacementGroupSchedulingStrategy(group, bundle),
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
