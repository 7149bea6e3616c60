"""Sweeps over a fleet of two kinds of CPU and three of GPU, judged by the rows they leave."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.dataset
import pytest
from fake_hardware import Host
from namespace_fleet import NamespaceFleet

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.serial]

FRAMEWORKS = Path(__file__).with_name("frameworks")
ALPHA, BETA = "Maker Alpha 9000", "Maker Beta 1"
HOSTS = {
    host.name: host
    for host in (
        Host("alpha-1", cpu_model=ALPHA, labels={"rack": "1"}),
        Host("alpha-2", cpu_model=ALPHA, labels={"rack": "2"}),
        Host("a100", cores=2, cpu_model=ALPHA, gpus="NVIDIA A100-SXM4-80GB:2"),
        Host("l40s", cpu_model=BETA, gpus="NVIDIA L40S:1"),
        Host("h100", cpu_model=BETA, gpus="NVIDIA H100 80GB HBM3:1"),
    )
}
WITH_GPUS = {name for name, host in HOSTS.items() if host.gpus}
TYPES = 4  # alpha-1 and alpha-2 are alike
SWEEP = """
name: fleet
frameworks: {frameworks}
models: [autoencoder-400-200-100/ae1]
batch_sizes: {{autoencoder-400-200-100/ae1: [4]}}
threads: [1]
devices: {devices}
where: {where}
exclusive: {exclusive}
repeats: 1
timing: {{target: 50%, min_samples: 3, min_seconds: {seconds}, max_seconds: {seconds}}}
"""


ON_BOTH = (
    SWEEP
    + """
exclude:
  - {{framework: numpy, device: gpu}}
  - {{framework: numpy_gpu, device: cpu}}
"""
)


@dataclass(frozen=True)
class Swept:
    """A finished sweep and the rows of its tasks."""

    done: "subprocess.CompletedProcess[str]"
    rows: list[dict]

    def of(self, device: str) -> list[dict]:
        return [row for row in self.rows if row["device"] == device]


@pytest.fixture(scope="module")
def fleet(new_fleet: Callable[..., NamespaceFleet]) -> NamespaceFleet:
    made = new_fleet(
        VELODROME_ADAPTERS=str(FRAMEWORKS),
        VELODROME_PYTHON_NUMPY=sys.executable,
        VELODROME_PYTHON_NUMPY_GPU=sys.executable,
    )
    try:
        made.start_head()
        made.add_nodes(list(HOSTS.values()))
    except ValueError as error:  # this machine has one core
        pytest.skip(str(error))
    return made


def sweep(fleet: NamespaceFleet, where: str, text: str) -> Swept:
    path = fleet.folder / f"{where}.yaml"
    path.write_text(text)
    results = fleet.folder / where
    words = ("run", str(path), "--address", fleet.address, "--results", str(results))
    started = fleet.velodrome(*words)
    out, err = started.communicate(timeout=280)
    done = subprocess.CompletedProcess(words, started.returncode, out, err)
    if not (results / "tasks").exists():
        pytest.fail(f"status {done.returncode}: {err}\n{out}")
    dataset = pyarrow.dataset.dataset(results / "tasks", partitioning="hive")
    return Swept(done, dataset.to_table().to_pylist())


def sweep_on_both(fleet: NamespaceFleet, where: str) -> Swept:
    values = {
        "frameworks": "[numpy, numpy_gpu]",
        "devices": "[cpu, gpu]",
        "exclusive": "true",
        "seconds": 0.5,
    }
    return sweep(fleet, where, ON_BOTH.format(where=where, **values))


@pytest.fixture(scope="module")
def of_each_type(fleet: NamespaceFleet) -> Swept:
    return sweep_on_both(fleet, "each-type")


@pytest.fixture(scope="module")
def of_each_node(fleet: NamespaceFleet) -> Swept:
    return sweep_on_both(fleet, "each-node")


@pytest.fixture(scope="module")
def packed(fleet: NamespaceFleet) -> Swept:
    # So long that Ray has started a worker for the second before the first is over.
    values = {
        "frameworks": "[numpy_gpu]",
        "devices": "[gpu]",
        "exclusive": "false",
        "seconds": 4,
    }
    return sweep(fleet, "each-gpu", SWEEP.format(where="each-gpu", **values))


@pytest.fixture(params=["of_each_type", "of_each_node", "packed"])
def swept(request: pytest.FixtureRequest) -> Swept:
    return request.getfixturevalue(request.param)


def test_every_task_is_measured_and_verified(swept: Swept) -> None:
    fates = [(row["status"], row["verified"], row["reason"]) for row in swept.rows]
    assert {(status, proven) for status, proven, _ in fates} <= {
        ("ok", True),
        ("unstable", True),
    }, fates
    assert swept.done.returncode == 0, swept.done.stderr


def test_every_row_comes_from_a_matching_node_and_names_its_hardware(swept: Swept) -> None:
    for row in swept.rows:
        host = HOSTS[row["hostname"]]
        gpu, _, count = host.gpus.rpartition(":")
        assert row["cpu_model"] == host.cpu_model
        if row["device"] == "gpu":
            assert host.gpus
            assert row["gpu_name"] == gpu
            assert 1 <= row["gpu_count"] <= int(count)
            assert len(gpus_given(row)) == 1
        else:
            assert not gpus_given(row)


def test_each_node_type_is_measured_once_whatever_its_number_of_nodes(of_each_type: Swept) -> None:
    on_cpus = [row["node_type"] for row in of_each_type.of("cpu")]
    on_gpus = [row["node_type"] for row in of_each_type.of("gpu")]
    assert len(on_cpus) == len(set(on_cpus)) == TYPES
    assert len(on_gpus) == len(set(on_gpus)) == len(WITH_GPUS)


def test_each_node_is_measured_once(of_each_node: Swept) -> None:
    assert sorted(row["hostname"] for row in of_each_node.of("cpu")) == sorted(HOSTS)
    assert sorted(row["hostname"] for row in of_each_node.of("gpu")) == sorted(WITH_GPUS)
    ids = {(row["hostname"], row["node_id"]) for row in of_each_node.rows}
    assert len(ids) == len({node_id for _, node_id in ids}) == len(HOSTS)


def test_each_gpu_is_measured(packed: Swept) -> None:
    given = [gpu for row in packed.rows for gpu in gpus_given(row)]
    assert len(given) == len(set(given)) == 4


def test_exclusive_tasks_never_share_a_node(of_each_type: Swept, of_each_node: Swept) -> None:
    for swept in (of_each_type, of_each_node):
        for one, other in itertools.combinations(swept.rows, 2):
            assert one["node_id"] != other["node_id"] or not overlap(one, other), (one, other)


def test_tasks_that_share_a_node_have_different_gpus(
    packed: Swept,
) -> None:
    one, other = (row for row in packed.rows if row["hostname"] == "a100")
    assert overlap(one, other), [(row["started_at"], row["finished_at"]) for row in (one, other)]
    assert not gpus_given(one) & gpus_given(other)


def test_nodes_of_the_fleet_work_in_parallel(of_each_type: Swept) -> None:
    pairs = itertools.combinations(of_each_type.rows, 2)
    assert any(overlap(one, other) for one, other in pairs)


def gpus_given(row: dict) -> set[str]:
    """Return the GPU UUIDs that the framework itself reports."""
    given = [note.removeprefix("given ") for note in row["notes"] if note.startswith("given ")]
    return {uuid for note in given for uuid in note.split(",")}


def overlap(one: dict, other: dict) -> bool:
    return one["started_at"] < other["finished_at"] and other["started_at"] < one["finished_at"]
