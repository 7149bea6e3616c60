from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CLUSTER = Path(__file__).parents[2] / "cluster.yaml"


def test_the_cluster_file_is_accepted_by_rays_own_validator() -> None:
    validate_config(prepare_config(yaml.safe_load(CLUSTER.read_text())))


def test_every_node_type_of_the_cluster_file_but_the_head_starts_from_zero() -> None:
    config = yaml.safe_load(CLUSTER.read_text())
    workers = {
        name: kind
        for name, kind in config["available_node_types"].items()
        if name != config["head_node_type"]
    }
    assert workers
    assert all(kind["min_workers"] == 0 for kind in workers.values())
