"""A cloud on this machine: Ray's fake node provider, with a log and node types that are sold out.

Ray's autoscaler loads it by its name (`type: external`): a file that `fake_multinode` wants is
missing from Ray's package.
"""

import os
from pathlib import Path
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

RECORD = "FAKE_CLOUD_RECORD"  # the file that gets a line for each node that came or went


class FakeCloud(FakeMultiNodeProvider):
    """A provider of Ray nodes on this machine; none where node_config says {sold_out: true}."""

    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, Any],
        labels: dict[str, str],
    ) -> None:
        name = tags[TAG_RAY_USER_NODE_TYPE]
        if node_config.get("sold_out"):
            _record(f"refused {name}")
            raise RuntimeError(f"there are no more machines of type {name}")
        super().create_node_with_resources_and_labels(node_config, tags, count, resources, labels)
        _record(f"started {name}")

    def terminate_node(self, node_id: str) -> None:
        name = self.node_tags(node_id)[TAG_RAY_USER_NODE_TYPE]
        super().terminate_node(node_id)
        _record(f"ended {name}")


def _record(text: str) -> None:
    with Path(os.environ[RECORD]).open("a") as record:
        record.write(f"{text}\n")
