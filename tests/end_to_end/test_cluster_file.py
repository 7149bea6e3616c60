"""cluster.yaml: Ray's launcher accepts it, and plans over its nodes place tasks correctly."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray._private.label_utils import validate_node_label_syntax
from ray.autoscaler._private.util import prepare_config, validate_config

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.declared_nodes import load_types
from velodrome.scheduler.plans.labels import read_labels
from velodrome.scheduler.plans.placement import make_plan
from velodrome.scheduler.sweeps import yaml_nodes
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster.yaml"
NIGHTLY = ROOT / "sweeps" / "nightly.yaml"
RAY_ENV = ROOT / "deploy" / "on-prem" / "ray.env"
GPU_TYPES = {"gpu-a10g", "gpu-l4", "gpu-l4x4", "gpu-l40s"}
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"  # the one that is another on every kind of fleet


def config() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(CLUSTER.read_text())
    return read


def variables(words: Iterable[str]) -> dict[str, str]:
    """Parse the `NAME=VALUE` words of a command or a file."""
    found = (re.fullmatch(r"(RAY_\w+)=(\S+?);?", word) for word in words)
    return {one[1]: one[2] for one in found if one}


def start_variables(kind: str) -> dict[str, str]:
    return variables(" ".join(config()[f"{kind}_start_ray_commands"]).split())


def test_rays_own_validator_accepts_it() -> None:
    validate_config(prepare_config(config()))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda c: c["available_node_types"]["cpu-amd"].update(cores=16), "'cores' was unexpected"),
        (lambda c: c["available_node_types"]["cpu-amd"]["labels"].update(rack=3), "not of type"),
        (lambda c: c.update(head_node_type="hed"), "must be one of"),
        (lambda c: c.update(velodrome={}), "'velodrome' was unexpected"),
    ],
    ids=["hardware in a node type", "a label that is a number", "no such head", "a key of ours"],
)
def test_rays_own_validator_refuses_a_planted_error(
    spoil: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    spoilt = config()
    spoil(spoilt)
    with pytest.raises(Exception, match=complaint):
        validate_config(prepare_config(spoilt))


def test_every_node_type_except_the_head_starts_from_zero_and_is_fully_declared() -> None:
    kinds = config()["available_node_types"]
    workers = {name: kind for name, kind in kinds.items() if name != config()["head_node_type"]}
    assert all(kind["min_workers"] == 0 for kind in workers.values())
    declared = {one.name: one for one in load_types(CLUSTER)}
    assert set(declared) == set(workers)  # hence not the head
    assert all(one.derived == () for one in declared.values())
    assert {one.name for one in declared.values() if one.gpus} == GPU_TYPES
    assert len({gpu.name for one in declared.values() for gpu in one.node.gpus}) == 3


def test_gpu_tasks_of_the_nightly_sweep_go_to_types_with_such_gpus() -> None:
    text = NIGHTLY.read_text()
    devices = "devices: [cpu, gpu, gpu:2, {gpu: L4}, {gpu: a10g}, {gpu: H100}]"
    assert "devices: [cpu]" in text
    sweep = parse_sweep(text.replace("devices: [cpu]", devices), str(NIGHTLY), FRAMEWORKS)
    nodes = [one.node for one in load_types(CLUSTER)]
    made = make_plan(expand_cells(sweep), sweep, nodes, {})
    went: dict[tuple[int, str], set[str]] = {}
    for one in made.placements:
        went.setdefault((one.task.gpu_count, one.task.gpu_model), set()).add(one.node_id)
    assert went == {
        (0, ""): GPU_TYPES | {"cpu-intel", "cpu-amd"},
        (1, ""): GPU_TYPES,
        (2, ""): {"gpu-l4x4"},
        (1, "L4"): {"gpu-l4", "gpu-l4x4"},
        (1, "a10g"): {"gpu-a10g"},
    }
    assert {(one.task.gpu_model, one.reason) for one in made.unplaceable} == {
        (
            "H100",
            "needs 1 GPU of model H100, the nodes have NVIDIA A10G, NVIDIA L4, NVIDIA L40S; "
            "nearest: gpu-l4x4",
        )
    }


OFFLINE = """
import pathlib, sys
from velodrome.scheduler.commands.plan import plan
sweep, cluster = map(pathlib.Path, sys.argv[1:])
plan(sweep, "", "", cluster, with_reasons=False, as_json=True)
assert "ray" not in sys.modules
"""


@pytest.mark.slow
def test_a_plan_over_the_cluster_file_needs_no_ray_and_explains_every_type(tmp_path: Path) -> None:
    sweep = tmp_path / "s.yaml"
    sweep.write_text(
        "frameworks: [numpy, torch]\nmodels: [lenet]\nthreads: [16]\ndevices: [cpu, {gpu: L4}]\n"
        "where: each-type\nrepeats: 2\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", OFFLINE, sweep, CLUSTER], capture_output=True, text=True, check=True
    )
    rows = {row["task"]: row for row in json.loads(ran.stdout)}
    assert rows["torch[eager] lenet b64 cpu 16t"]["nodes"] == ["cpu-amd", "gpu-l4x4"]
    gpu = rows["torch[eager] lenet b64 gpu L4 16t"]
    assert (gpu["nodes"], gpu["repeats"]) == (["gpu-l4x4"], 2)
    smt = "(16 SMT threads: ask for `logical` to use them)"
    assert gpu["not_on"]["cpu-intel"] == [
        f"needs 16 threads, has 8 cores {smt}",
        "needs 1 GPU of model L4, has none",
    ]
    assert gpu["not_on"]["gpu-l4"] == ["needs 16 threads, has 4 cores"]
    reason = rows["numpy[float64] lenet b64 gpu L4 16t"]["reason"]
    assert reason == "numpy has no gpu path: NumPy computes on CPUs alone"


def test_heads_workers_and_on_prem_machines_start_ray_with_the_same_variables() -> None:
    head, worker = start_variables("head"), start_variables("worker")
    own = variables(RAY_ENV.read_text().split())
    assert head == worker
    assert head.pop(TOKEN_PATH) and own.pop(TOKEN_PATH)
    assert (
        head
        == own
        == {
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_timeout_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "RAY_grpc_client_keepalive_time_ms": "2000",
            "RAY_grpc_client_keepalive_timeout_ms": "3000",
        }
    )


def test_the_copied_files_exist_here_and_the_token_lies_elsewhere() -> None:
    mounts = dict(config()["file_mounts"])
    assert mounts.pop("~/.ray/auth_token") == "~/.ray/auth_token"
    assert all((ROOT / local).exists() for local in mounts.values())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pool", "lab"),
        ("example.org/rack", "r3.a_b-c"),
        ("-pool", "lab"),
        ("pool-", "lab"),
        ("po ol", "lab"),
        ("a" * 63, "b" * 63),
        ("a" * 64, "lab"),
        ("pool", "b" * 64),
        ("pool", "in(lab)"),
        ("pool", "!lab"),
        ("-example/rack", "lab"),
        ("pool", ""),
    ],
)
def test_labels_are_validated_as_ray_validates_them(key: str, value: str) -> None:
    text = yaml.safe_dump({key: value}, default_style='"')
    try:
        validate_node_label_syntax({key: value})
    except ValueError:
        with pytest.raises(ConfigError, match="is not a valid label"):
            read_labels(yaml_nodes.parse_yaml(text, "c.yaml"), "labels")
    else:
        assert read_labels(yaml_nodes.parse_yaml(text, "c.yaml"), "labels") == ((key, value),)
