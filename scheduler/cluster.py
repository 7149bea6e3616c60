"""The nodes that attempts can be sent to: here, this machine under a Ray of our own."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import ray

from velodrome.agents.node import Node
from velodrome.scheduler.dispatch import Member
from velodrome.scheduler.embedded_ray import embedded_ray
from velodrome.scheduler.errors import ClusterUnreachable


@contextmanager
def local_members(node: Node) -> Iterator[dict[str, Member]]:
    """This machine by its node id, while a Ray of our own runs on it."""
    with embedded_ray(node.logical, len(node.gpus)) as started:
        os.environ.update(started.variables)
        ray.init(
            address=started.address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
        try:
            yield {node.node_id: _member(node)}
        finally:
            ray.shutdown()


def _nodes() -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", ray.nodes())  # type: ignore[no-untyped-call]


def _member(node: Node) -> Member:
    alive = [entry for entry in _nodes() if entry["Alive"]]
    if len(alive) != 1:
        raise ClusterUnreachable(f"the Ray started here has {len(alive)} nodes, not one")
    resources = alive[0]["Resources"]
    return Member(
        node, alive[0]["NodeID"], float(resources["CPU"]), float(resources.get("GPU", 0.0))
    )
