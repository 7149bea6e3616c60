"""A cloud that is this machine: Ray's own fake provider, which is sold out of some types.

Ray's autoscaler loads it by name (`type: external`), since a part of `fake_multinode` that Ray
opens is missing from its package.
"""

from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class FakeCloud(FakeMultiNodeProvider):
    """Each of its nodes is a Ray node of a process tree of its own, with this host's name."""

    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, Any],
        labels: dict[str, str],
    ) -> None:
        if node_config.get("sold_out"):
            raise RuntimeError("there are no more machines of this type")
        super().create_node_with_resources_and_labels(node_config, tags, count, resources, labels)
