"""The lock of each node's environment in a plan, and what the node lacks for it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.node import Core, Gpu, Node
from velodrome.scheduler.plans.explanations import explain_plan
from velodrome.scheduler.plans.placement import Plan, make_plan
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep import LockRequirement, Sweep
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

GPU = Gpu(0, "NVIDIA L4", "GPU-1", 2**34)
MB = 1_000_000


def node(name: str, cuda_major: int, **others: object) -> Node:
    made = Node(name, name, "CPU", (Core(0, (0,)),), 2**34, gpus=(GPU,), cuda_major=cuda_major)
    return replace(made, **others)


def sweep(framework: str, more: str = "devices: [gpu]") -> Sweep:
    text = f"frameworks: [{framework}]\nmodels: [lenet]\nthreads: [1]\nrepeats: 1\n{more}\n"
    return parse_sweep(text, "s.yaml", FRAMEWORKS)


def planned(wanted: Sweep, *nodes: Node) -> Plan:
    return make_plan(expand_cells(wanted), wanted, nodes, {})


def reason(made: Plan) -> str:
    (entry,) = made.unplaceable
    return entry.reason


def test_a_driver_that_is_too_old_for_the_lock_gets_no_task() -> None:
    """PyTorch is locked for CUDA 13, TensorFlow and JAX for 12."""
    old, new = node("old", 12), node("new", 13)
    for nodes in ((old, new), (new, old)):
        made = planned(sweep("torch"), *nodes)
        assert [one.node_id for one in made.placements] == ["new"]
    for framework in ("tensorflow", "jax"):
        assert planned(sweep(framework), old).unplaceable == ()
        assert planned(sweep(framework), new).unplaceable == ()
    assert reason(planned(sweep("tensorflow"), node("older", 11))).startswith(
        "needs a driver for CUDA 12 or newer, which tensorflow is locked for, the nodes have one "
        "for CUDA 11"
    )


def test_missing_drivers_are_reported_for_the_fleet_and_each_node() -> None:
    wanted, nodes = sweep("torch"), (node("a", 11), node("b", 12))
    made = planned(wanted, *nodes)
    wants = "needs a driver for CUDA 13 or newer, which torch is locked for"
    assert reason(made) == f"{wants}, the nodes have one for CUDA 11, one for CUDA 12; nearest: a"
    (entry,) = explain_plan(made, wanted, nodes)
    reasons = {name: each.reasons for each in entry.elsewhere for name in each.nodes}
    assert reasons == {
        "a": (f"{wants}, has one for CUDA 11",),
        "b": (f"{wants}, has one for CUDA 12",),
    }


def test_a_driver_of_unknown_version_is_tried_unless_it_is_faulty() -> None:
    assert planned(sweep("torch"), node("silent", 0)).unplaceable == ()
    faulty = node("faulty", 0, gpu_fault="GPU 1 is lost")
    assert "the nodes have one of unknown version" in reason(planned(sweep("torch"), faulty))


def test_a_node_without_gpus_lacks_only_gpus() -> None:
    assert reason(planned(sweep("torch"), node("bare", 0, gpus=()))) == (
        "needs 1 GPU, no node has one"
    )


def test_cpu_tasks_ignore_the_driver() -> None:
    assert planned(sweep("torch", "devices: [cpu]"), node("old", 11)).unplaceable == ()


def test_disk_is_required_for_a_lock_that_serves_the_node() -> None:
    wanted = sweep("torch")
    locks = (
        LockRequirement("gpu", ("linux-x86_64",), 4000 * MB, ("cuda13",), "new.txt"),
        LockRequirement("gpu", ("linux-x86_64",), 1000 * MB, ("cuda12",), "old.txt"),
        LockRequirement("gpu", ("linux-aarch64",), 10 * MB, ("cuda11",), "arm.txt"),
    )
    (entrant,) = wanted.entrants
    wanted = replace(wanted, entrants=(replace(entrant, locked=locks),))
    room = 2000 * MB
    fits, tight = (
        node(name, 12, free_disk_bytes=size) for name, size in (("f", room), ("t", 9 * MB))
    )
    assert planned(wanted, fits).unplaceable == ()
    (one,) = explain_plan(planned(wanted, tight), wanted, (tight,))
    assert "has 0.0 GiB of the 0.9 GiB that its lock takes" in str(one.elsewhere)
    # Each condition holds of some lock, and no lock meets both.
    assert planned(wanted, node("x86", 11)).placements == ()
    arm = node("arm", 11, architecture="aarch64")
    (one,) = explain_plan(planned(wanted, arm), wanted, (arm,))
    assert one.locks == ("arm.txt",)


def test_the_plan_names_the_lock_of_each_node() -> None:
    wanted = sweep("torch", "devices: [cpu, gpu]\nwhere: each-node")
    nodes = (node("old", 12), node("new", 13))
    locks = {
        one.task.device: dict(zip(one.nodes, one.locks, strict=True))
        for one in explain_plan(planned(wanted, *nodes), wanted, nodes)
    }
    assert locks == {
        "cpu": {"old": "linux-x86_64-cpu.txt", "new": "linux-x86_64-cpu.txt"},
        "gpu": {"new": "linux-x86_64-cuda.txt"},
    }


@pytest.mark.parametrize(("cuda", "locks"), [("12040", []), ("13000", ["linux-x86_64-cuda.txt"])])
def test_the_command_reads_the_installed_driver(
    fake_driver: Path, tmp_path: Path, cuda: str, locks: list[str]
) -> None:
    text = "frameworks: [torch]\nmodels: [lenet]\ndevices: [gpu]\nthreads: [1]\n"
    (tmp_path / "sweep.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "velodrome.scheduler.cli", "plan", "sweep.yaml", "--json"],
        env=os.environ
        | {
            "LD_LIBRARY_PATH": str(fake_driver),
            "FAKE_NVML": "NVIDIA L4:1",
            "FAKE_NVML_CUDA": cuda,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    (row,) = json.loads(done.stdout)
    assert list(row["locks"].values()) == locks, done.stderr
    assert ("CUDA 13" in row["reason"]) == (not locks)
