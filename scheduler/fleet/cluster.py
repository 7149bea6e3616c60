"""The nodes that attempts can be sent to: here, this machine under a Ray of our own."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import ray

from velodrome.agents.node import Node
from velodrome.scheduler.errors import ClusterUnreachable
from velodrome.scheduler.fleet.dispatch import Member


@contextmanager
def local_members(node: Node, address: str) -> Iterator[dict[str, Member]]:
    """This machine by its node id, while we are connected to the Ray that runs on it."""
    ray.init(
        address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False
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
