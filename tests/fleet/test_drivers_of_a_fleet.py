"""Five hosts with GPUs and drivers from 535 to 590: the build of each, and nightly runs on two."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest
from earlier_runs import put_earlier
from fake_hardware import Host
from namespace_fleet import NamespaceFleet

from velodrome.scheduler.plans.placement import FIRST_CONFIRMATION
from velodrome.scheduler.results.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.full]

FRAMEWORK = Path(__file__).parent / "frameworks" / "two_builds"
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

NIGHTLY = f"""{SWEEP.replace("name: drivers", "name: nights")}
labels: {{pool: nightly}}
"""
SLOW = "590"
GPUS = {name: "NVIDIA L4" for name in DRIVERS} | {SLOW: "NVIDIA L40S"}
SLOWED = f"""
import socket
import time

Sound = Adapter

class Adapter(Sound):
    def gradient(self, index):
        until_s = time.process_time() + 0.01
        while socket.gethostname() == "{SLOW}" and time.process_time() < until_s:
            pass
        return super().gradient(index)
"""


def cuda_of(host: str) -> int:
    return int(DRIVERS[host][1]) // 1000


@pytest.fixture(scope="module")
def fleet(new_fleet: Callable[..., NamespaceFleet]) -> NamespaceFleet:
    made = new_fleet(VELODROME_PYTHON_NUMPY=sys.executable)
    made.variables["VELODROME_ADAPTERS"] = str(made.folder / "frameworks")
    shutil.copytree(FRAMEWORK, made.folder / "frameworks" / FRAMEWORK.name)
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
                gpus=f"{GPUS[name]}:1",
                labels={"pool": "nightly"} if name in ("580", SLOW) else {},
                variables={"FAKE_NVML_DRIVER": driver, "FAKE_NVML_CUDA": cuda},
            )
            for name, (driver, cuda) in DRIVERS.items()
        ]
    )
    (made.folder / "sweep.yaml").write_text(SWEEP)
    (made.folder / "nights.yaml").write_text(NIGHTLY)
    return made


def velodrome(
    fleet: NamespaceFleet, *words: str, status: int = 0
) -> "subprocess.CompletedProcess[str]":
    started = fleet.velodrome(*words)
    out, err = started.communicate(timeout=280)
    assert started.returncode == status, (words, out, err)
    return subprocess.CompletedProcess(words, started.returncode, out, err)


def plan(fleet: NamespaceFleet, *words: str) -> dict[str, str]:
    """Return the lock that a plan names for each node."""
    address = ("--address", fleet.address)
    printed = velodrome(fleet, "plan", "sweep.yaml", "--json", *address, *words)
    (task,) = json.loads(printed.stdout)
    return dict(task["locks"])


def rows_in(results: Path) -> list[dict[str, Any]]:
    dataset = pyarrow.dataset.dataset(results / "tasks", partitioning="hive")
    return dataset.to_table().to_pylist()


def run(fleet: NamespaceFleet, name: str, *words: str) -> dict[str, dict[str, Any]]:
    """Return the row of each host."""
    results = ("--results", str(fleet.folder / name))
    velodrome(fleet, "run", "sweep.yaml", "--address", fleet.address, *results, *words)
    return {row["hostname"]: row for row in rows_in(fleet.folder / name)}


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


def test_a_gpu_node_that_became_slower_is_measured_again_on_that_node(
    fleet: NamespaceFleet,
) -> None:
    results = fleet.folder / "nights"
    words = ("nightly", "nights.yaml", "--address", fleet.address, "--results", str(results))
    first = velodrome(fleet, *words, "--budget", "1h")
    assert "nightly run 1 of nights: 2 cells on 2 nodes" in first.stdout
    for days in range(1, 10):
        put_earlier(Store(results), NIGHTLY, days, spread=0.25)
    with (fleet.folder / "frameworks" / FRAMEWORK.name / "adapter.py").open("a") as adapter:
        adapter.write(SLOWED)
    second = velodrome(fleet, *words, "--json", status=1)
    alarms = [row for row in json.loads(second.stdout) if row["alarm"]]
    gradients = [row for row in alarms if row["phase"] == "gradient"]
    assert [(row["hostname"], row["confirmation"]) for row in gradients] == [(SLOW, "confirmed")]
    again = [row for row in rows_in(results) if row["repeat"] >= FIRST_CONFIRMATION]
    assert SLOW in {row["hostname"] for row in again}
    assert {row["gpu_name"] for row in again if row["hostname"] == SLOW} == {GPUS[SLOW]}
