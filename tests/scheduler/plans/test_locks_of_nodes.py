"""The lock of each node's environment in a plan, and what the node lacks for it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.node import Core, Gpu, Node
from velodrome.agents.rerun_command import rerun_command
from velodrome.scheduler.commands.plan import PlanScope, plan_over
from velodrome.scheduler.plans.explanations import explain_plan
from velodrome.scheduler.plans.placement import Plan, make_plan
from velodrome.scheduler.plans.preparation import plan_sweep
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep import LockRequirement, Sweep
from velodrome.scheduler.sweeps.sweep_file import hold_to_one_build, parse_sweep

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


def test_a_driver_that_is_too_old_for_every_lock_gets_no_task() -> None:
    """PyTorch and JAX are locked for CUDA 13 and 12, TensorFlow for 12."""
    older, old, new = node("older", 11), node("old", 12), node("new", 13)
    for framework in ("torch", "tensorflow", "jax"):
        for nodes in ((older, old), (old, older)):
            made = planned(sweep(framework), *nodes)
            assert [one.node_id for one in made.placements] == ["old"]
        assert planned(sweep(framework), new).unplaceable == ()
        assert reason(planned(sweep(framework), older)).startswith("needs a driver for CUDA 12")
    assert reason(planned(sweep("tensorflow"), older)).startswith(
        "needs a driver for CUDA 12 or newer, which tensorflow is locked for, the nodes have one "
        "for CUDA 11"
    )


def test_missing_drivers_are_reported_for_the_fleet_and_each_node() -> None:
    wanted, nodes = sweep("torch"), (node("a", 10), node("b", 11))
    made = planned(wanted, *nodes)
    wants = "needs a driver for CUDA 12 or newer, which torch is locked for"
    assert reason(made) == f"{wants}, the nodes have one for CUDA 10, one for CUDA 11; nearest: a"
    (entry,) = explain_plan(made, wanted, nodes)
    reasons = {name: each.reasons for each in entry.elsewhere for name in each.nodes}
    assert reasons == {
        "a": (f"{wants}, has one for CUDA 10",),
        "b": (f"{wants}, has one for CUDA 11",),
    }


def test_a_driver_of_unknown_version_is_tried_unless_it_is_faulty() -> None:
    assert planned(sweep("torch"), node("silent", 0)).unplaceable == ()
    faulty = node("faulty", 0, gpu_fault="GPU 1 is lost")
    assert "the nodes have one of unknown version" in reason(planned(sweep("torch"), faulty))


def with_gpu(name: str, capability: str, cuda_major: int = 13) -> Node:
    gpu = replace(GPU, name=name, compute_capability=capability)
    return node(name, cuda_major, gpus=(gpu,))


def test_each_gpu_gets_the_build_with_kernels_for_it_or_the_reason_why_there_is_none() -> None:
    nodes = (with_gpu("A100", "8.0"), with_gpu("V100", "7.0"), with_gpu("P100", "6.0"))
    wanted = sweep("torch", "devices: [gpu]\nwhere: each-node")
    (item,) = explain_plan(planned(wanted, *nodes), wanted, nodes)
    assert dict(zip(item.nodes, item.locks, strict=True)) == {
        "A100": "linux-x86_64-cuda13.txt",
        "V100": "linux-x86_64-cuda12.txt",
    }
    (entry,) = item.elsewhere
    assert (entry.nodes, entry.reasons) == (
        ("P100",),
        ("needs compute capability 7.0 or newer, which torch has kernels for, has 6.0",),
    )
    assert "the nodes have 6.0" in reason(planned(sweep("torch"), nodes[2]))
    assert planned(sweep("torch"), with_gpu("unknown", "")).unplaceable == ()


def arm(name: str, capability: str, cuda_major: int) -> Node:
    return replace(with_gpu(name, capability, cuda_major), architecture="aarch64")


@pytest.mark.parametrize(
    ("framework", "device", "lock"),
    [
        ("torch", "cpu", "linux-aarch64-cuda13.txt"),
        ("torch", "gpu", "linux-aarch64-cuda13.txt"),
        ("jax", "cpu", "linux-aarch64-cpu.txt"),
        ("jax", "gpu", "linux-aarch64-cuda13.txt"),
        ("tensorflow", "cpu", "linux-aarch64-cpu.txt"),
        ("numpy", "cpu", "universal.txt"),
    ],
)
def test_an_arm_node_gets_the_lock_of_its_platform(framework: str, device: str, lock: str) -> None:
    grace = arm("grace", "9.0", 13)
    wanted = sweep(framework, f"devices: [{device}]")
    (item,) = explain_plan(planned(wanted, grace), wanted, (grace,))
    assert item.locks == (lock,)


@pytest.mark.parametrize(
    ("framework", "node", "why"),
    [
        ("tensorflow", arm("a", "9.0", 13), "needs linux-x86_64, which tensorflow is locked for"),
        ("theano", arm("a", "9.0", 13), "theano has no gpu path"),
        (
            "torch",
            arm("a", "9.0", 12),
            "needs a driver for CUDA 12 or newer, which torch is locked for, the nodes have one "
            "for CUDA 12 (on linux-aarch64 its oldest build is for CUDA 13)",
        ),
        (
            "torch",
            arm("a", "7.5", 13),
            "needs compute capability 7.0 or newer, which torch has kernels for, the nodes have "
            "7.5 (its build, linux-aarch64-cuda13.txt, has kernels from 8.0 on)",
        ),
    ],
)
def test_an_arm_node_without_a_build_is_told_why(framework: str, node: Node, why: str) -> None:
    assert reason(planned(sweep(framework), node)).startswith(why)


def test_the_capability_of_the_model_that_a_task_uses_is_required() -> None:
    old, new = (
        replace(GPU, name=name, compute_capability=f"{number}.0")
        for name, number in (("P100", 6), ("A100", 8))
    )
    mixed = node("mixed", 12, gpus=(old, replace(new, uuid="GPU-2")))
    assert planned(sweep("torch", "devices: [{gpu: A100}]"), mixed).unplaceable == ()
    refused = planned(sweep("torch", "devices: [{gpu: P100}]"), mixed)
    assert "the nodes have 6.0" in reason(refused)


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


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_plan_names_the_newest_lock_that_each_node_runs(framework: str) -> None:
    wanted = sweep(framework, "devices: [cpu, gpu]\nwhere: each-node")
    nodes = (node("old", 12), node("new", 13), node("newest", 14))
    locks = {
        one.task.device: dict(zip(one.nodes, one.locks, strict=True))
        for one in explain_plan(planned(wanted, *nodes), wanted, nodes)
    }
    assert locks == {
        "cpu": dict.fromkeys(("old", "new", "newest"), "linux-x86_64-cpu.txt"),
        "gpu": {
            "old": "linux-x86_64-cuda12.txt",
            "new": "linux-x86_64-cuda13.txt",
            "newest": "linux-x86_64-cuda13.txt",
        },
    }


def test_different_builds_are_told_and_can_be_held_to_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(
        "frameworks: [torch]\nmodels: [lenet]\ndevices: [cpu, gpu]\nthreads: [1]\n"
        "where: each-node\n"
    )
    nodes = (node("old", 12), node("new", 13), node("older", 11), node("bare", 0, gpus=()))

    def plan(*, same_build: bool) -> tuple[dict[str, str], str]:
        arguments = (PlanScope(nodes), tmp_path / "s.yaml", "device=gpu")
        plan_over(*arguments, with_reasons=False, as_json=True, same_build=same_build)
        (row,) = json.loads(capsys.readouterr().out)
        plan_over(*arguments, with_reasons=False, as_json=False, same_build=same_build)
        return row["locks"], " ".join(capsys.readouterr().out.split())

    locks, text = plan(same_build=False)
    assert locks == {"new": "linux-x86_64-cuda13.txt", "old": "linux-x86_64-cuda12.txt"}
    assert (
        "torch on gpu has different builds (linux-x86_64-cuda13.txt: new; "
        "linux-x86_64-cuda12.txt: old); see --same-build" in text
    )
    locks, text = plan(same_build=True)
    assert locks == dict.fromkeys(("new", "old"), "linux-x86_64-cuda12.txt")
    assert "different builds" not in text
    assert "--same-build" in text.partition("next:")[2]


def test_a_task_that_is_held_to_a_build_uses_and_names_it(tmp_path: Path) -> None:
    wanted = hold_to_one_build(sweep("torch"))
    assert parse_sweep(wanted.text, "again.yaml", FRAMEWORKS).same_build
    store = EnvironmentStore(tmp_path)
    found = {
        major: plan_sweep(wanted, "", (node("a", 13), node("b", major)), store).placements[0].task
        for major in (12, 13)
    }
    assert {major: task.accelerator for major, task in found.items()} == {
        12: "cuda12",
        13: "cuda13",
    }
    assert found[12].key != found[13].key
    assert rerun_command(found[12]).count(" --build cuda12") == 1
    free = plan_sweep(sweep("torch"), "", (node("a", 13),), store).placements[0].task
    assert free.accelerator == "gpu"


@pytest.mark.parametrize(
    ("driver", "cuda", "locks"),
    [
        ("470.256.02", "11040", []),
        ("535.261.03", "12020", ["linux-x86_64-cuda12.txt"]),
        ("550.163.01", "12040", ["linux-x86_64-cuda12.txt"]),
        ("570.195.03", "12080", ["linux-x86_64-cuda12.txt"]),
        ("580.95.05", "13000", ["linux-x86_64-cuda13.txt"]),
        ("590.44.01", "13010", ["linux-x86_64-cuda13.txt"]),
    ],
)
def test_the_command_reads_the_installed_driver(
    fake_driver: Path, tmp_path: Path, driver: str, cuda: str, locks: list[str]
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
            "FAKE_NVML_DRIVER": driver,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    (row,) = json.loads(done.stdout)
    assert list(row["locks"].values()) == locks, done.stderr
    assert ("a driver for CUDA 12" in row["reason"]) == (not locks)
