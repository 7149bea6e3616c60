"""A sweep over five hosts with drivers from 535 to 590: the build that each of them gets."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest
from fake_hardware import Host
from namespace_fleet import NamespaceFleet

pytestmark = [pytest.mark.slow, pytest.mark.full]

FRAMEWORKS = Path(__file__).with_name("frameworks")
DRIVERS = {
    "535": ("535.288.01", "12020"),
    "550": ("550.163.01", "12040"),
    "570": ("570.211.01", "12080"),
    "580": ("580.126.09", "13000"),
    "590": ("590.48.01", "13010"),
}
LOCKS = {12: "linux-x86_64-cuda12.txt", 13: "linux-x86_64-cuda13.txt"}
VERSIONS = {12: "2.3.5", 13: "2.4.6"}
SWEEP = """
name: drivers
frameworks: [two_builds]
models: [autoencoder-400-200-100/ae1]
batch_sizes: {autoencoder-400-200-100/ae1: [4]}
threads: [1]
devices: [gpu]
where: each-node
repeats: 1
timing: {target: 50%, min_samples: 3, min_seconds: 0.1, max_seconds: 0.1}
"""


def cuda_of(host: str) -> int:
    return int(DRIVERS[host][1]) // 1000


@pytest.fixture(scope="module")
def fleet(new_fleet: Callable[..., NamespaceFleet]) -> NamespaceFleet:
    made = new_fleet(VELODROME_ADAPTERS=str(FRAMEWORKS), VELODROME_PYTHON_NUMPY=sys.executable)
    for cuda in VERSIONS:  # here, as hosts of namespaces have no way out to a package index
        words = ("envs", "build", "two_builds", "--accelerator", f"cuda{cuda}")
        subprocess.run(
            [sys.executable, "-m", "velodrome.scheduler.cli", *words],
            env=made.variables,
            check=True,
            timeout=280,
        )
    made.start_head()
    made.add_nodes(
        [
            Host(
                name,
                gpus="NVIDIA L4:1",
                variables={"FAKE_NVML_DRIVER": driver, "FAKE_NVML_CUDA": cuda},
            )
            for name, (driver, cuda) in DRIVERS.items()
        ]
    )
    (made.folder / "sweep.yaml").write_text(SWEEP)
    return made


def velodrome(fleet: NamespaceFleet, *words: str) -> "subprocess.CompletedProcess[str]":
    started = fleet.velodrome(*words)
    out, err = started.communicate(timeout=280)
    assert started.returncode == 0, (words, out, err)
    return subprocess.CompletedProcess(words, started.returncode, out, err)


def plan(fleet: NamespaceFleet, *words: str) -> dict[str, str]:
    """Return the lock that a plan names for each node."""
    address = ("--address", fleet.address)
    printed = velodrome(fleet, "plan", "sweep.yaml", "--json", *address, *words)
    (task,) = json.loads(printed.stdout)
    return dict(task["locks"])


def run(fleet: NamespaceFleet, name: str, *words: str) -> dict[str, dict[str, Any]]:
    """Return the row of each host."""
    results = ("--results", str(fleet.folder / name))
    velodrome(fleet, "run", "sweep.yaml", "--address", fleet.address, *results, *words)
    dataset = pyarrow.dataset.dataset(fleet.folder / name / "tasks", partitioning="hive")
    return {row["hostname"]: row for row in dataset.to_table().to_pylist()}


def test_each_node_gets_the_newest_build_that_its_driver_runs(fleet: NamespaceFleet) -> None:
    assert plan(fleet) == {host: LOCKS[cuda_of(host)] for host in DRIVERS}
    rows = run(fleet, "own")
    assert {host: row["framework_version"] for host, row in rows.items()} == {
        host: VERSIONS[cuda_of(host)] for host in DRIVERS
    }
    assert {row["status"] for row in rows.values()} <= {"ok", "unstable"}
    report = velodrome(fleet, "report", "--results", str(fleet.folder / "own")).stdout
    assert "different versions" in " ".join(report.split()), report


def test_one_build_for_all_is_the_newest_that_every_driver_runs(fleet: NamespaceFleet) -> None:
    assert plan(fleet, "--same-build") == dict.fromkeys(DRIVERS, LOCKS[12])
    rows = run(fleet, "same", "--same-build")
    assert {row["framework_version"] for row in rows.values()} == {VERSIONS[12]}
    assert sorted(rows) == sorted(DRIVERS)
